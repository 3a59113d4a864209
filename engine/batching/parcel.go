package batching

import (
	"fmt"
	"sync"
	"time"

	"millrace/engine/event"
)

// parcel is a source's parcel on its way: what of it still waits, and what has
// become of the rest.
type parcel struct {
	event.Parcel
	arrived time.Time // when it was read
	next    int       // events before it are in batches
	bytes   int64     // size of the events that are not

	mu        sync.Mutex
	unsettled int
	receipt   event.Receipt
}

// newParcel measures a parcel, unless its source did: looking at every event
// was a seventh of the engine's time (BenchmarkEngine). Events over maxEvent bytes are refused: they
// would not fit through the rest of the pipeline either.
func newParcel(from event.Parcel, now time.Time, maxEvent int64) *parcel {
	p := &parcel{Parcel: from, arrived: now, unsettled: len(from.Events), bytes: int64(from.Bytes)}
	if p.bytes > 0 && p.bytes <= maxEvent {
		return p // none of them can be over the limit
	}
	p.bytes = 0
	for i := range p.Events {
		size := int64(p.Events[i].Size())
		p.bytes += size
		if size > maxEvent {
			p.Refused = append(p.Refused, event.Refusal{
				Index: i,
				Err:   fmt.Errorf("event of %d bytes is over the limit of %d (batch.max_event)", size, maxEvent),
			})
		}
	}
	return p
}

// waiting is how many events are not in a batch yet.
func (p *parcel) waiting() int { return len(p.Events) - p.next }

// fit is how many of the next n events fit in bytes, and their size. The first
// fits always if it must.
func (p *parcel) fit(n int, bytes int64, must bool) (fits int, total int64) {
	for fits < n {
		size := int64(p.Events[p.next+fits].Size())
		if total+size > bytes && !(must && fits == 0) {
			break
		}
		fits, total = fits+1, total+size
	}
	return fits, total
}

// settle notes that n events from index first on have an outcome, and answers
// the source when they were the last.
func (p *parcel) settle(first, n int, o event.Outcome, errOf func(i int) error) {
	p.mu.Lock()
	p.receipt.Counts[o] += n
	if o != event.Delivered && o != event.Filtered {
		for i := range n {
			p.receipt.Exceptions = append(p.receipt.Exceptions, event.Exception{Index: first + i, Outcome: o, Err: errOf(i)})
		}
	}
	p.unsettled -= n
	last := p.unsettled == 0
	p.mu.Unlock()
	if last && p.Done != nil {
		p.Done(p.receipt)
	}
}

// giveBack returns everything that is not in a batch and says how much it was.
func (p *parcel) giveBack() int {
	first, n := p.next, p.waiting()
	p.next = len(p.Events)
	if n > 0 {
		p.settle(first, n, event.Returned, func(int) error { return nil })
	}
	return n
}
