package circuit

import "time"

// Snapshot is a breaker at one moment. Rates are in percent, -1 while there
// are too few results.
type Snapshot struct {
	State    State
	Since    time.Time // when it came into its state
	TryAt    time.Time // open: when it lets trials through; else zero
	Attempts int       // times it opened since it was closed last
	Waiting  int       // calls that wait to be let through now

	FailureRate, SlowCallRate float32

	BufferedCalls, FailedCalls, SlowCalls, SlowFailedCalls int // in the window

	// Since the start.
	Finished     [numResults]uint64 // calls by their Result
	NotPermitted uint64             // calls that were not let through at once

	took, longest [numResults]time.Duration
}

// Look takes a Snapshot.
func (b *Breaker) Look() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, m := b.now(), b.machine
	t := m.seen.totals(now)
	s := Snapshot{
		State: m.state, Since: b.start.Add(m.since), Attempts: m.attempts, Waiting: b.waiting,
		BufferedCalls: t.calls, FailedCalls: t.failed, SlowCalls: t.slow, SlowFailedCalls: t.slowFailed,
		Finished: b.counts.finished, NotPermitted: b.counts.notPermitted, took: b.counts.took,
	}
	s.FailureRate, s.SlowCallRate = m.share(t)
	if m.state == Opened {
		s.TryAt = b.start.Add(m.until)
	}
	for r := range s.longest {
		s.longest[r] = b.counts.longest[r].at(now)
	}
	return s
}
