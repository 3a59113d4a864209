package load

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"
)

// Plan is a profile that can be played: its rate over time and the integral of
// it. Times count from the beginning of the profile. A Plan never changes and
// may be used by many goroutines.
type Plan struct {
	// Profile is what the plan was made of.
	Profile Profile
	// Name is what people call it: the name of a profile that comes with the
	// engine, or a file's; "" where it has none. Set by who knows it, before the
	// plan is played.
	Name string

	phases    []phase
	curve     curve // all phases, repeated as asked for
	once      *chain
	unlimited bool
	late      Late
	hash      string
	traces    []string
	steps     []step // of a recording; nil: it plays a profile
	run       Run
}

// phase is what is known of a phase once it is compiled.
type phase struct {
	name    string
	measure bool
	start   float64 // within one round
	long    float64
}

// Endless is the length of a plan that has no end.
const Endless = time.Duration(math.MaxInt64)

// Length is how long the plan lasts, or Endless.
func (p *Plan) Length() time.Duration { return span(p.curve.length()) }

// Unlimited reports whether the plan is "max": as much as the route takes.
func (p *Plan) Unlimited() bool { return p.unlimited }

// Late is what happens to events that were not handed out when they were due,
// with its defaults filled in.
func (p *Plan) Late() Late { return p.late }

// Rate is λ(t), in events per second; 0 before the beginning and after the end.
// +Inf for an unlimited plan.
func (p *Plan) Rate(t time.Duration) float64 {
	switch {
	case p.unlimited:
		return math.Inf(1)
	case t < 0 || float64(t) >= p.curve.length():
		return 0
	default:
		return p.curve.rate(float64(t))
	}
}

// Total is H(t): how many events are due from the beginning to t. It is not
// rounded down.
func (p *Plan) Total(t time.Duration) float64 { return p.total(float64(t)) }

func (p *Plan) total(t float64) float64 {
	if p.unlimited {
		return 0
	}
	return p.curve.total(min(max(t, 0), p.curve.length()))
}

// When is the inverse of Total: the first nanosecond at which h events are due,
// or Endless when there are never so many.
func (p *Plan) When(h float64) time.Duration {
	if p.unlimited || h <= 0 {
		return 0
	}
	return first(func(t float64) float64 { return p.total(t) }, p.curve.when, h, p.curve.length())
}

// first is the first whole nanosecond, up to long, at which total is at least
// h. The guess is off by some rounding at most, so looking around it, further
// by a factor each time, ends soon.
func first(total, guess func(float64) float64, h, long float64) time.Duration {
	long = min(long, far)
	t := max(math.Ceil(guess(h)), 0)
	if !(t <= long) {
		t = long
	}
	if total(t) >= h { // the usual case: the guess is right
		if t == 0 || total(t-1) < h {
			return time.Duration(t)
		}
	} else if t < long && total(t+1) >= h {
		return time.Duration(t + 1)
	}
	low, high := t, t // total(low) < h <= total(high)
	for step := 1.0; total(high) < h; step *= 4 {
		if high >= long {
			return Endless
		}
		low, high = high, min(high+step, long)
	}
	for step := 1.0; low == high || total(low) >= h; step *= 4 {
		if low <= 0 {
			return 0
		}
		high, low = low, max(low-step, 0)
	}
	for high-low > 1 {
		middle := math.Floor(low + (high-low)/2)
		if middle <= low || middle >= high {
			break
		}
		if total(middle) >= h {
			high = middle
		} else {
			low = middle
		}
	}
	return time.Duration(high)
}

// Position is a place in a plan, for people.
type Position struct {
	Phase   int           `json:"phase"` // from 0
	Name    string        `json:"name"`  // of the phase
	Round   int           `json:"round"` // from 0, where the phases are repeated
	Elapsed time.Duration `json:"-"`     // in the phase
	Left    time.Duration `json:"-"`     // of the phase; Endless where it has no end
	Measure bool          `json:"measure"`
	Ended   bool          `json:"ended"`
}

// Position tells where in the plan a time is.
func (p *Plan) Position(t time.Duration) Position {
	at, round := float64(t), 0.0
	ended := !p.unlimited && at >= p.curve.length()
	if each := p.once.length(); !math.IsInf(each, 1) && each > 0 {
		round = math.Floor(at / each)
		if ended {
			round = math.Ceil(at/each) - 1
		}
		at -= round * each
	}
	i := p.once.at(at)
	ph := p.phases[i]
	at = min(at-ph.start, ph.long)
	return Position{
		Phase: i, Name: ph.name, Round: int(round), Measure: ph.measure, Ended: ended,
		Elapsed: span(at), Left: span(ph.long - at),
	}
}

// Next is when the phase after the one at t begins; false when there is none.
func (p *Plan) Next(t time.Duration) (time.Duration, bool) {
	pos := p.Position(t)
	if pos.Ended || pos.Left == Endless || float64(t+pos.Left) >= p.curve.length() {
		return 0, false
	}
	return t + pos.Left, true
}

// Phases is how many phases a round has.
func (p *Plan) Phases() int { return len(p.phases) }

// Traces are the files that the plan was made of, beside its profile's.
func (p *Plan) Traces() []string { return p.traces }

// Hash names what the plan offers: the same profile, traces included, has the
// same one.
func (p *Plan) Hash() string { return p.hash }

// HashOf names a text together with what the files hold that it names.
func HashOf(text []byte, files ...[]byte) string {
	h := sha256.New()
	for _, b := range append([][]byte{text}, files...) {
		part := sha256.Sum256(b)
		h.Write(part[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// span is a length of time as the standard library's type.
func span(t float64) time.Duration {
	if t >= far {
		return Endless
	}
	return time.Duration(t)
}
