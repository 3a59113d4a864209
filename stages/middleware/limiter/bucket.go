package limiter

import (
	"math"
	"time"
)

// bucket is a token bucket: it fills with rate tokens a second up to burst, and
// an event takes one. Over any time t at most burst + rate*t events are
// granted.
type bucket struct {
	rate  float64 // tokens a second
	burst float64
	// least is how many tokens are worth cutting a batch for. Tokens come one
	// by one: a batch that took each as it came would go on in crumbs. It is
	// below burst, so that tokens of a timer that fires late are not lost.
	least float64

	whole struct { // what scale is about
		rate, burst, least float64
	}

	level float64
	at    time.Duration // when level was right
}

func newBucket(rate float64, burst int, least float64) *bucket {
	b := &bucket{rate: rate, burst: float64(burst), least: max(1, least), level: float64(burst)}
	b.whole.rate, b.whole.burst, b.whole.least = b.rate, b.burst, b.least
	return b
}

// crumb absorbs the rounding of floating point: a token that is this close to
// whole is whole. What it lends is owed by the level.
const crumb = 1e-6

func (b *bucket) can(now time.Duration, want int) int {
	b.fill(now)
	if whole := math.Floor(b.level + crumb); whole >= min(float64(want), b.least) {
		return max(0, min(want, int(whole)))
	}
	return 0
}

func (b *bucket) charge(now time.Duration, n int) {
	b.fill(now)
	b.level -= float64(n)
}

func (b *bucket) when(now time.Duration, want int) time.Duration {
	b.fill(now)
	missing := min(float64(want), math.Ceil(b.least)) - b.level
	return max(1, time.Duration(min(math.Ceil(missing/b.rate*float64(time.Second)), 1<<62)))
}

// used is 0 only when the bucket is full.
func (b *bucket) used(now time.Duration) int {
	b.fill(now)
	return int(math.Ceil(b.burst - b.level - crumb))
}

func (b *bucket) size() int { return int(b.burst) }

func (b *bucket) scale(part float64) {
	b.rate, b.burst, b.least = b.whole.rate, b.whole.burst, b.whole.least
	if part < 1 {
		b.rate, b.burst, b.least = b.rate*part, max(1, math.Floor(b.burst*part)), max(1, b.least*part)
	}
	b.level = min(b.level, b.burst)
}

func (b *bucket) fill(now time.Duration) {
	if now <= b.at {
		return
	}
	b.level = min(b.burst, b.level+(now-b.at).Seconds()*b.rate)
	b.at = now
}
