package kafka

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"millrace/engine/stage"
)

// Status shows how full the buffer is, what was sent without an answer, and
// how evenly the partitions are used.
func (w *writer) Status() map[string]any {
	out := map[string]any{
		"buffer_available_bytes": w.available(), "producer_memory_bytes": w.memory.of(w.spread.partitions()),
		"partition_skew": w.spread.skew(),
	}
	if s := w.fill.secondsToFull(w.available()); !math.IsInf(s, 1) {
		out["seconds_to_full"] = s
	}
	for _, p := range w.producers {
		if !p.acknowledged() {
			out["sent_unacknowledged"], out["lost_unacknowledged"] = w.unacknowledged.Load(), w.lost.Load()
		}
	}
	return out
}

// available is how much room the buffers have left.
func (w *writer) available() int64 {
	left := w.bound
	for _, p := range w.producers {
		left -= p.client.Load().BufferedProduceBytes()
	}
	return left
}

// memory is what producers may hold in batches that are being filled: one of
// each partition.
type memory struct {
	batchBytes int64
	producers  int64
	configured int // partitions; 0: not said
}

func (m memory) of(seen int) int64 {
	return m.batchBytes * m.producers * int64(max(m.configured, seen, 1))
}

// String says it for explain.
func (m memory) String() string {
	each := stage.Size(m.batchBytes * m.producers)
	if m.configured == 0 {
		return fmt.Sprintf("batches being filled take up to %v for each partition", each)
	}
	return fmt.Sprintf("batches being filled take up to %v (%d partitions x %v)", stage.Size(m.of(0)), m.configured, each)
}

// fill foresees when the buffer is full, from how fast it filled lately.
type fill struct {
	clock stage.Clock
	mu    sync.Mutex
	at    time.Time
	left  int64
	rate  float64 // bytes/s by which it fills; below 0: it empties
}

// fillEvery is how far apart the looks are that a rate is made of.
const fillEvery = time.Second

// secondsToFull is +Inf while the buffer does not fill.
func (f *fill) secondsToFull(left int64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	switch passed := now.Sub(f.at); {
	case f.at.IsZero():
		f.at, f.left = now, left
	case passed >= fillEvery:
		f.rate = float64(f.left-left) / passed.Seconds()
		f.at, f.left = now, left
	}
	if f.rate <= 0 {
		return math.Inf(1)
	}
	return max(float64(left), 0) / f.rate
}

// spread counts the records of each partition, once Kafka has them.
type spread struct {
	mu sync.Mutex
	n  []int64
}

func (s *spread) add(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range c.records {
		if len(c.errs) > 0 && c.errs[i] != nil {
			continue
		}
		at := int(c.records[i].Partition)
		for at >= len(s.n) {
			s.n = append(s.n, 0)
		}
		s.n[at]++
	}
}

func (s *spread) counts() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.n...)
}

// partitions is how many have been seen.
func (s *spread) partitions() int { return len(s.counts()) }

// skew is how many times as much as the average the busiest partition got: 1
// when all got the same.
func (s *spread) skew() float64 {
	var most, sum int64
	counts := s.counts()
	for _, n := range counts {
		most, sum = max(most, n), sum+n
	}
	if sum == 0 {
		return 1
	}
	return float64(most) * float64(len(counts)) / float64(sum)
}

// nag says now and then that records nobody waits for were lost.
type nag struct {
	log   *slog.Logger
	clock stage.Clock
	mu    sync.Mutex
	last  time.Time
	lots  int
}

const nagEvery = 30 * time.Second

func (n *nag) lost(p *producer, events int, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lots += events
	if now := n.clock.Now(); now.Sub(n.last) >= nagEvery {
		n.log.Warn("events that are sent without waiting were lost", "events", n.lots, "delivery", p.mode.String(), "error", why)
		n.last, n.lots = now, 0
	}
}
