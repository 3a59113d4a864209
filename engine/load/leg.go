package load

import (
	"math"
	"time"
)

// never is later than any time, and leaves room to add to it.
const never = time.Duration(1 << 62)

// mode is what is played and how.
type mode struct {
	plan *Plan
	gaps *gaps
	at   float64 // place in the plan
	setting
	base   setting // before the amends
	amends []amend // since the oldest change that is for a time, in their order; none: no change is. Never written to
}

func newMode(p *Plan) mode {
	return mode{plan: p, gaps: newGaps(p.Profile.Arrivals, p.Profile.Seed), setting: setting{scale: 1}}
}

func (m *mode) moves() bool { return !m.held && !m.paused }

// now is the rate of a mode at its place.
func (m *mode) now() float64 {
	switch {
	case m.paused:
		return 0
	case m.held:
		return m.rate
	default:
		return m.plan.Rate(span(m.at)) * m.scale
	}
}

// leg is one mode for a time.
type leg struct {
	mode
	from   time.Duration
	until  time.Duration // never: it is the one that plays
	events float64       // once it is over
	before float64       // of the plan, at the beginning of the leg
}

func newLeg(m mode, from time.Duration) leg {
	return leg{mode: m, from: from, until: never, before: m.plan.total(m.at)}
}

// place is where in the plan the leg is at a time.
func (l *leg) place(t time.Duration) float64 {
	if !l.moves() {
		return l.at
	}
	return min(l.at+float64(max(t-l.from, 0)), l.plan.curve.length())
}

// length is how long the leg can go on before its plan ends.
func (l *leg) length() float64 {
	if !l.moves() {
		return math.Inf(1)
	}
	return l.plan.curve.length() - l.at
}

// total is how many events the leg has from its beginning to e later.
func (l *leg) total(e float64) float64 {
	switch {
	case l.paused:
		return 0
	case l.held:
		return e * l.rate / second
	default:
		return (l.plan.total(l.at+e) - l.before) * l.scale
	}
}

// rateAt is the rate of a leg that moves along its plan.
func (l *leg) rateAt(e float64) float64 { return l.plan.curve.rate(l.at+e) * l.scale }

func (l *leg) totalAt(t time.Duration) float64 {
	return l.total(float64(max(min(t, l.until)-l.from, 0)))
}

// guess is about when the leg has so many events.
func (l *leg) guess(events float64) float64 {
	switch {
	case l.paused:
		return math.Inf(1)
	case l.held:
		return events / l.rate * second
	default:
		return l.plan.curve.when(l.before+events/l.scale) - l.at
	}
}

// when is the first nanosecond at which the leg has so many events, as a time
// of the player; never if it does not get so far.
func (l *leg) when(events float64) time.Duration {
	if l.plan.unlimited && l.moves() {
		return l.from
	}
	e := first(l.total, l.guess, events, l.length())
	if e >= never-l.from {
		return never
	}
	return l.from + e
}

// name adds the phases of events of the leg to a list, if there is one.
func (l *leg) name(due []time.Duration, phases *[]string) {
	if phases == nil {
		return
	}
	name, until := "", time.Duration(math.MinInt64)
	for _, d := range due {
		if d >= until {
			name, until = l.phase(d)
		}
		*phases = append(*phases, name)
	}
}

// phase is the name of the phase that brought an event of the leg, and the time
// from which on others bring them.
func (l *leg) phase(due time.Duration) (name string, until time.Duration) {
	pos := l.plan.Position(span(l.place(due - 1)))
	if until = l.until; l.moves() && pos.Left < never-due {
		until = min(until, due-1+pos.Left)
	}
	return pos.Name, until + 1
}

// steady is the part of the leg around a number of events that is at one rate,
// in times and events of the leg.
func (l *leg) steady(e float64) (stretchOf, bool) {
	switch {
	case l.paused || l.plan.unlimited:
		return stretchOf{}, false
	case l.held:
		return stretchOf{0, math.Inf(1), 0, l.rate}, l.rate > 0
	}
	s, ok := steadyAt(l.plan.curve, l.at+e)
	if !ok || s.rate <= 0 {
		return s, false
	}
	return stretchOf{s.start - l.at, s.end - l.at, (s.base - l.before) * l.scale, s.rate * l.scale}, true
}

// when is the first nanosecond of the stretch at which there are so many
// events, in times of its leg.
func (s stretchOf) when(events float64) float64 {
	h := events - s.base
	t := math.Ceil(h / s.rate * second)
	// Rounding leaves it a nanosecond off at most.
	if t*s.rate/second < h {
		t++
	} else if t > 0 && (t-1)*s.rate/second >= h {
		t--
	}
	return s.start + t
}
