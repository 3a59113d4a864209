package circuit

import "time"

// openWait is how long a breaker stays open.
type openWait struct {
	first      time.Duration
	multiplier float64       // of each next time, as long as it does not close; 1: always the same
	most       time.Duration // with a multiplier above 1
	jitter     float64       // share of the wait that it may be shorter or longer, 0 to 1
	random     func() float64
}

// wait is how long it stays open the nth time since it was closed last, from
// 1. Like Resilience4j it counts in whole milliseconds, each wait being cut to
// them before it is multiplied.
func (w *openWait) wait(n int) time.Duration {
	ms, most := w.first.Milliseconds(), w.most.Milliseconds()
	for ; n > 1 && w.multiplier > 1 && ms < most; n-- {
		next := int64(float64(ms) * w.multiplier)
		if next == ms {
			break // cut to the same millisecond: it would never grow
		}
		ms = next
	}
	if w.jitter > 0 {
		spread := w.jitter * float64(ms)
		ms = int64(max(1, float64(ms)-spread+w.random()*(2*spread+1)))
	}
	if w.multiplier > 1 {
		ms = min(ms, most)
	}
	return time.Duration(ms) * time.Millisecond
}
