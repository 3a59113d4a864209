package limiter

import (
	"math"
	"time"
)

// bucket is a token bucket: it fills with rate tokens a second up to burst, and
// an event takes one. Over any time t at most burst + rate*t events are
// granted. It reads no clock and takes no lock.
type bucket struct {
	rate  float64 // tokens a second
	burst float64
	// least is how many tokens are worth cutting a batch for. Tokens come one
	// by one: a batch that took each as it came would go on in crumbs. It is
	// below burst, so that tokens of a timer that fires late are not lost.
	least float64

	level float64
	at    time.Duration // when level was right
}

func newBucket(rate float64, burst int, least float64) *bucket {
	return &bucket{rate: rate, burst: float64(burst), least: max(1, least), level: float64(burst)}
}

// crumb absorbs the rounding of floating point: a token that is this close to
// whole is whole. What it lends is owed by the level.
const crumb = 1e-6

// take grants up to want events now. What is missing may come after wait.
func (b *bucket) take(now time.Duration, want int) (granted int, wait time.Duration) {
	b.fill(now)
	if whole := math.Floor(b.level + crumb); whole >= min(float64(want), b.least) {
		granted = min(want, int(whole))
		b.level -= float64(granted)
	}
	if granted < want {
		missing := min(float64(want-granted), math.Ceil(b.least)) - b.level
		wait = max(1, time.Duration(min(math.Ceil(missing/b.rate*float64(time.Second)), 1<<62)))
	}
	return granted, wait
}

// free is how many events would be granted now.
func (b *bucket) free(now time.Duration) int {
	b.fill(now)
	return max(0, int(b.level+crumb))
}

func (b *bucket) size() int { return int(b.burst) }

func (b *bucket) fill(now time.Duration) {
	if now <= b.at {
		return
	}
	b.level = min(b.burst, b.level+(now-b.at).Seconds()*b.rate)
	b.at = now
}
