// Package books keeps the account of a route: what came in, what became of
// it, and how long it took.
//
// Each side is counted where it happens: In where the source's parcel is
// accepted, an outcome where an event is settled, in flight from the batches
// and queues that are alive. None is computed from the others, so that they
// balance only if every event was settled exactly once:
//
//	in = delivered + filtered + shed + poisoned + rejected + returned + in flight
package books

import (
	"fmt"
	"sync"
	"sync/atomic"

	"millrace/engine/event"
)

// Books is the account of one route. Safe for concurrent use.
type Books struct {
	in       atomic.Int64
	bytes    atomic.Int64
	batches  atomic.Int64
	outcomes [event.NumOutcomes]atomic.Int64
	lost     atomic.Int64
	diverted atomic.Int64
	inFlight atomic.Pointer[func() int64]

	mu      sync.Mutex
	latency Latencies
}

// New opens empty books.
func New() *Books { return &Books{latency: newLatencies()} }

// In counts events that the route accepted from its source, and their size.
func (b *Books) In(events int, bytes int64) {
	b.in.Add(int64(events))
	b.bytes.Add(bytes)
}

// Batch counts a batch that was handed to the chain.
func (b *Books) Batch() { b.batches.Add(1) }

// SetLost notes how many events the source found to be gone before they could
// be read, in all.
func (b *Books) SetLost(events int64) { b.lost.Store(events) }

// CountInFlight names the function that counts the events that are accepted
// and not settled, from the batches and queues that hold them.
func (b *Books) CountInFlight(f func() int64) { b.inFlight.Store(&f) }

// Settled counts n events that reached an outcome.
func (b *Books) Settled(o event.Outcome, n int) { b.outcomes[o].Add(int64(n)) }

// Diverted counts n events that were delivered to another sink than the route's
// own, since that was away. They are among the delivered ones.
func (b *Books) Diverted(n int) { b.diverted.Add(int64(n)) }

// Latency notes the time from each event's Due to now, in Unix nanoseconds;
// events without Due are left out. Called when they are settled, before their
// memory is given back.
func (b *Books) Latency(events []event.Event, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range events {
		if due := events[i].Due; due != 0 {
			b.latency.add(now - due)
		}
	}
}

// Latencies copies what was noted so far.
func (b *Books) Latencies() Latencies {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latency.clone()
}

// Page is a copy of the books at one moment.
type Page struct {
	In, Bytes, Batches, InFlight, Lost int64
	Diverted                           int64 // of the delivered ones
	Outcomes                           [event.NumOutcomes]int64
}

// Page copies the books. While events are moving, the sides are read one
// after the other and may be a few events apart; on a stopped route they must
// balance.
func (b *Books) Page() Page {
	var p Page
	if f := b.inFlight.Load(); f != nil {
		p.InFlight = (*f)()
	}
	for o := range b.outcomes {
		p.Outcomes[o] = b.outcomes[o].Load()
	}
	p.In, p.Bytes, p.Batches, p.Lost = b.in.Load(), b.bytes.Load(), b.batches.Load(), b.lost.Load()
	p.Diverted = b.diverted.Load()
	return p
}

// Settled is how many events have a final outcome.
func (p Page) Settled() int64 {
	var n int64
	for _, count := range p.Outcomes {
		n += count
	}
	return n
}

// Check says what is wrong with the page of a route at rest; nil if it balances.
func (p Page) Check() error {
	if p.In == p.Settled()+p.InFlight {
		return nil
	}
	return fmt.Errorf("books do not balance: in %d, but %d settled and %d in flight (difference %+d)",
		p.In, p.Settled(), p.InFlight, p.Settled()+p.InFlight-p.In)
}
