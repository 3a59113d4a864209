package limiter

import "time"

// fixed is a fixed window: of each stretch of time between two multiples of
// its length, at most limit events are granted. Around such a border twice as
// many may pass in a window's length.
type fixed struct {
	limit  int
	length time.Duration
	offset time.Duration // of time 0 in its window

	whole struct { // what scale is about
		limit  int
		length time.Duration
	}

	number  int64 // of the window that is counted
	charged int
}

// newFixed makes a window whose borders lie on multiples of length by the wall
// clock; zero is what that showed at time 0.
func newFixed(limit int, length time.Duration, zero time.Time) *fixed {
	f := &fixed{limit: limit, length: length, offset: time.Duration(zero.UnixNano() % int64(length))}
	f.whole.limit, f.whole.length = limit, length
	return f
}

func (f *fixed) can(now time.Duration, want int) int {
	f.turn(now)
	return max(0, min(want, f.limit-f.charged))
}

func (f *fixed) charge(now time.Duration, n int) {
	f.turn(now)
	f.charged += n
}

func (f *fixed) when(now time.Duration, _ int) time.Duration {
	return f.length - (now+f.offset)%f.length
}

func (f *fixed) used(now time.Duration) int {
	f.turn(now)
	return f.charged
}

func (f *fixed) size() int { return f.limit }

func (f *fixed) scale(part float64) {
	f.limit, f.length = f.whole.limit, f.whole.length
	if part < 1 {
		f.limit, f.length = share(f.limit, f.length, part)
	}
	f.number = -1 // the count goes on in the new window until that ends
}

// turn begins a new count when a new window has begun.
func (f *fixed) turn(now time.Duration) {
	number := int64((now + f.offset) / f.length)
	switch {
	case f.number < 0:
		f.number = number
	case number != f.number:
		f.number, f.charged = number, 0
	}
}
