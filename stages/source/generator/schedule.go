package generator

import (
	"math"
	"time"
)

// tick is how often a generator hands out what has become due. The runtime's
// timers round shorter sleeps up to about this, so a finer grain would only
// cost wake-ups.
const tick = time.Millisecond

// never is further away than any run lasts, and leaves room to add to it.
const never = time.Duration(1 << 62)

// schedule says when events are due, counted from its beginning. It is
// arithmetic on the integral of the rate and knows no clock: what is due does
// not depend on when, or how often, somebody asks, so errors cannot add up.
// Events have numbers from 0; event i is due when the integral reaches i+1.
type schedule struct {
	rate Rate
}

// due is how many events are due once this much time has passed: the integral
// of the rate, rounded down. It never falls as elapsed grows.
func (s schedule) due(elapsed time.Duration) int64 {
	if s.rate.IsMax() {
		return math.MaxInt64
	}
	// The product is exact as long as it stays below 2^53, so whole rates
	// meet their ticks exactly; after that the error is far below one event.
	return int64(float64(elapsed) * float64(s.rate) / float64(time.Second))
}

// at is when event i is due: the first nanosecond at which due counts it. At
// the rate max everything is due from the beginning.
func (s schedule) at(i int64) time.Duration {
	guess := float64(i+1) / float64(s.rate) * float64(time.Second)
	if guess >= float64(never) {
		return never
	}
	d := time.Duration(guess)
	// Rounding leaves the guess a few nanoseconds off at most.
	for s.due(d) <= i {
		d++
	}
	for d > 0 && s.due(d-1) > i {
		d--
	}
	return d
}
