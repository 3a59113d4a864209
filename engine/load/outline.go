package load

import (
	"math"
	"time"
)

// Outline is a length of time that shows what the plan does: one round of it,
// or of what goes on for ever at its end.
func (p *Plan) Outline() time.Duration {
	if p.steps != nil {
		last := p.steps[len(p.steps)-1].at
		return max(last+last/4, 10*time.Second)
	}
	if long := p.once.length(); !math.IsInf(long, 1) {
		return span(long)
	}
	last := len(p.once.parts) - 1
	before := p.once.start[last]
	cycle := cycleOf(p.once.parts[last])
	if cycle == 0 {
		cycle = max(float64(time.Minute), before/4)
	}
	return span(before + cycle)
}

// Sample is the rate at n places of a span, from its beginning, with all changes
// of a recording; 0 where it is unlimited.
func (p *Plan) Sample(over time.Duration, n int) []float64 {
	rates := make([]float64, n)
	pl := Play(p, 0)
	for i := range rates {
		s := pl.State(time.Duration(float64(over) * (float64(i) + 0.5) / float64(n)))
		if !math.IsInf(s.Rate, 1) {
			rates[i] = s.Rate
		}
	}
	return rates
}

// cycleOf is how long it takes until a curve repeats itself; 0: it does not.
func cycleOf(c curve) (long float64) {
	switch c := c.(type) {
	case sine:
		return c.period
	case repeated:
		const shown = 40 // parts; enough to see how they differ
		if body, ok := c.body.(*chain); ok && len(body.parts) > shown {
			return body.start[shown]
		}
		return c.long
	case noisy:
		return cycleOf(c.curve)
	case sum:
		for _, part := range c {
			long = max(long, cycleOf(part))
		}
	}
	return long
}

// Start is when a phase of the first round begins.
func (p *Plan) Start(phase int) time.Duration { return span(p.phases[phase].start) }

// Evenly reports whether the plan's events are evenly spaced, without chance.
func (p *Plan) Evenly() bool { return newGaps(p.Profile.Arrivals, 0).kind == even }

// Count counts the events that are due in each of n buckets of a span, from the
// beginning, as they arrive: with their randomness.
func (p *Plan) Count(over time.Duration, n int) []float64 {
	counts := make([]float64, n)
	if p.unlimited || over <= 0 {
		return counts
	}
	if p.Evenly() {
		before := 0.0
		for i := range counts {
			now := math.Floor(p.total(float64(over) * float64(i+1) / float64(n)))
			counts[i], before = now-before, now
		}
		return counts
	}
	pl := &Player{}
	pl.start(newMode(p), 0)
	tick := over.Truncate(Tick)
	var due []time.Duration
	for {
		due = due[:0]
		l := &pl.legs[0]
		for end := l.totalAt(tick); pl.next <= end && len(due) < 1000; {
			due = pl.draw(l, end, 1000, due)
		}
		if len(due) == 0 {
			return counts
		}
		for _, d := range due {
			counts[min(int(float64(d)/float64(over)*float64(n)), n-1)]++
		}
	}
}
