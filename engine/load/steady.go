package load

import "math"

// stretchOf is a part of a curve at one rate: it begins at start, base events
// after the beginning of the curve, and ends at end.
type stretchOf struct{ start, end, base, rate float64 }

// steadyAt finds the part of a curve that t is in where it is at one rate;
// false elsewhere. Constant rates are what long runs spend their time in, and
// within such a part the inverse is a division.
func steadyAt(c curve, t float64) (s stretchOf, ok bool) {
	switch c := c.(type) {
	case linear:
		return stretchOf{0, c.long, 0, c.from}, c.from == c.to
	case *chain:
		i := c.at(t)
		if s, ok = steadyAt(c.parts[i], t-c.start[i]); ok {
			s = stretchOf{s.start + c.start[i], min(s.end+c.start[i], c.start[i+1]), s.base + c.base[i], s.rate}
		}
	case repeated:
		round, in := c.lap(t)
		if s, ok = steadyAt(c.body, in); ok {
			s = stretchOf{s.start + round*c.long, s.end + round*c.long, s.base + round*c.each, s.rate}
		}
	case until:
		s, ok = steadyAt(c.curve, t)
		s.end = min(s.end, c.long)
	case noisy: // over a constant rate, each slot is at one rate
		if whole, flat := c.curve.(linear); flat && whole.from == whole.to {
			return c.slotOf(t, whole.from), true
		}
	case scaled:
		s, ok = steadyAt(c.curve, t)
		s.base, s.rate = s.base*c.factor, s.rate*c.factor
	}
	return s, ok
}

// slotOf is the slot around t of noise over a constant rate.
func (c noisy) slotOf(t, rate float64) stretchOf {
	g := c.groupAt(t)
	slot, speed := g.slotAt(t)
	start := g.start + float64(slot)*g.long/noiseSlots
	return stretchOf{start, start + g.long/noiseSlots, c.curve.total(g.start + g.ends[slot]), rate * speed}
}

// peak is the highest rate of a curve, or somewhat more.
func peak(c curve) (r float64) {
	switch c := c.(type) {
	case linear:
		return max(c.from, c.to)
	case exponential:
		return max(c.from, c.to)
	case eased:
		return max(c.from, c.to)
	case sine:
		return c.mean + c.amplitude
	case *chain:
		for _, p := range c.parts {
			r = max(r, peak(p))
		}
	case repeated:
		return peak(c.body)
	case until:
		return peak(c.curve)
	case scaled:
		return peak(c.curve) * c.factor
	case noisy:
		return peak(c.curve) // noise may go over the limit: it bounds what is meant
	case sum:
		for _, p := range c {
			r += peak(p)
		}
	default:
		return math.Inf(1)
	}
	return r
}
