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
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"millrace/engine/event"
)

// Books is the account of one route. Safe for concurrent use.
type Books struct {
	in       atomic.Int64
	bytes    atomic.Int64
	batches  atomic.Int64
	outcomes [event.NumOutcomes]atomic.Int64
	lost     atomic.Int64
	inFlight atomic.Pointer[func() int64]

	mu      sync.Mutex
	latency *hdrhistogram.Histogram
	sum     int64 // microseconds
}

// New opens empty books.
func New() *Books {
	return &Books{latency: newHistogram()}
}

// maxLatency is the longest latency that is told apart; longer ones count as
// this.
const maxLatency = time.Hour

// newHistogram holds microseconds with two significant digits: 1 % is finer
// than any latency here repeats, and a snapshot stays small.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 2)
}

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

// Latency notes the time from each event's Due to now, in Unix nanoseconds;
// events without Due are left out. Called when they are settled, before their
// memory is given back.
func (b *Books) Latency(events []event.Event, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// One record per event was 28 % of a batch of 500 (BenchmarkEngine).
	// Neighbours were due shortly after each other and mostly fall into the
	// same bucket, from..to nanoseconds: those are recorded together.
	var from, to, run, sum int64
	for i := range events {
		if events[i].Due == 0 {
			continue
		}
		late := min(max(1000, now-events[i].Due), int64(maxLatency))
		sum += late
		if late < from || late >= to {
			b.record(from/1000, run)
			from, to = bucket(late / 1000)
			run = 0
		}
		run++
	}
	b.record(from/1000, run)
	b.sum += sum / 1000
}

// bucket is the range in nanoseconds of the latencies that share the first 8
// bits with us microseconds: no coarser than two significant digits.
func bucket(us int64) (from, to int64) {
	width := int64(1) << max(0, bits.Len64(uint64(us))-8)
	low := us &^ (width - 1)
	return low * 1000, (low + width) * 1000
}

func (b *Books) record(us, n int64) {
	if n > 0 {
		// The value was brought into range, the only error there is.
		_ = b.latency.RecordValues(us, n)
	}
}

// Page is a copy of the books at one moment.
type Page struct {
	In, Bytes, Batches, InFlight, Lost int64
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

// Latencies is a copy of the latency histogram so far.
type Latencies struct {
	hist *hdrhistogram.Histogram
	sum  int64 // microseconds
}

// Latencies copies the latency histogram.
func (b *Books) Latencies() Latencies {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Latencies{hdrhistogram.Import(b.latency.Export()), b.sum}
}

// Since is what was recorded after an earlier copy was taken.
func (l Latencies) Since(earlier Latencies) Latencies {
	if earlier.hist == nil {
		return l
	}
	now, before := l.hist.Export(), earlier.hist.Export()
	for i := range now.Counts {
		if i < len(before.Counts) {
			now.Counts[i] -= before.Counts[i]
		}
	}
	return Latencies{hdrhistogram.Import(now), l.sum - earlier.sum}
}

// Count is how many latencies were recorded.
func (l Latencies) Count() int64 {
	if l.hist == nil {
		return 0
	}
	return l.hist.TotalCount()
}

// Quantile is the latency that a share q (0 to 1) of the events did not exceed.
func (l Latencies) Quantile(q float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return time.Duration(l.hist.ValueAtPercentile(q*100)) * time.Microsecond
}

// Buckets counts, for each upper bound in seconds, the events that were not
// slower, with their number and the sum of their latencies: a classic
// Prometheus histogram.
func (l Latencies) Buckets(bounds []float64) (counts map[float64]uint64, n uint64, sum float64) {
	counts = make(map[float64]uint64, len(bounds))
	if l.hist == nil {
		return counts, 0, 0
	}
	for _, bar := range l.hist.Distribution() {
		n += uint64(bar.Count)
		for _, bound := range bounds {
			if float64(bar.To) <= bound*1e6 {
				counts[bound] += uint64(bar.Count)
			}
		}
	}
	return counts, n, float64(l.sum) / 1e6
}
