package load

import "math"

// tolerance is how far, in nanoseconds, the inverse of a curve without a
// closed form may be off; the grain of time is 1.
const tolerance = 0.25

// invert finds t between low and high at which the integral of a curve is h:
// Newton's method, kept within a bracket that always holds the answer. Where a
// Newton step would leave the bracket, or does not at least halve it in two
// turns, the bracket is halved instead; so it ends after 200 turns at most,
// and usually after five. The result is within tolerance, or as near as the
// rounding of the integral allows.
func invert(c curve, h, low, high float64) float64 {
	hLow, hHigh := c.total(low), c.total(high)
	switch {
	case h <= hLow:
		return low
	case h >= hHigh:
		return firstAt(c, h, low, high)
	}
	t := low + (high-low)*((h-hLow)/(hHigh-hLow))
	wide := high - low
	for turn := 0; high-low > tolerance && turn < 200; turn++ {
		off := c.total(t) - h
		if off >= 0 {
			high = t
		} else {
			low = t
		}
		next := t - off/c.rate(t)*second
		if math.Abs(next-t) < tolerance/2 && next > low && next < high {
			// Newton has arrived; show that the answer is between its sides.
			if l := next - tolerance/2; l > low && c.total(l) < h {
				low = l
			}
			if u := next + tolerance/2; u < high && c.total(u) >= h {
				high = u
			}
		}
		if turn%2 == 1 {
			if high-low > wide/2 {
				next = math.NaN()
			}
			wide = high - low
		}
		if !(next > low && next < high) {
			next = low + (high-low)/2
		}
		if next == t {
			break
		}
		t = next
	}
	return high
}

// firstAt is the earliest time at which the integral of a curve is as high as
// it gets: curves may end in quiet.
func firstAt(c curve, h, low, high float64) float64 {
	h = min(h, c.total(high))
	for high-low > tolerance {
		middle := low + (high-low)/2
		if middle <= low || middle >= high {
			break
		}
		if c.total(middle) >= h {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
