package load

import (
	"math"
	"slices"
)

// curve is a rate over time. Times are nanoseconds from its own beginning, in
// floats, which hold them exactly for a hundred days; rates are events per
// second.
type curve interface {
	// length is how long it is; +Inf: it has no end.
	length() float64
	// rate is λ(t).
	rate(t float64) float64
	// total is H(t), the integral of rate from 0 to t, in events.
	total(t float64) float64
	// when is the inverse of total: the earliest t at which it is h, for h from 0
	// to that of the whole length. Exact but for rounding.
	when(h float64) float64
}

const second = 1e9 // nanoseconds

// linear goes straight from one rate to another; flat where they are the same.
type linear struct{ from, to, long float64 }

func flat(rate, long float64) linear { return linear{rate, rate, long} }

func (c linear) length() float64 { return c.long }

func (c linear) rate(t float64) float64 {
	if c.from == c.to {
		return c.from
	}
	return c.from + (c.to-c.from)*(t/c.long)
}

// total is exact for a whole constant rate while the product is below 2^53, so
// that it meets its ticks. A falling rate is summed up from its end: adding
// what only grows, rounding cannot make the sum fall.
func (c linear) total(t float64) float64 {
	switch {
	case c.from == c.to:
		return t * c.from / second
	case c.from < c.to:
		return c.rising(c.from, c.to, t)
	default:
		return c.rising(c.to, c.from, c.long) - c.rising(c.to, c.from, c.long-t)
	}
}

func (c linear) rising(low, high, t float64) float64 {
	return (t*low + (high-low)*(t/c.long)*t/2) / second
}

func (c linear) when(h float64) float64 {
	if c.from == c.to {
		if c.from == 0 {
			return 0
		}
		return h / c.from * second
	}
	// The root of from·t + slope·t²/2 = h, in the form that does not subtract.
	slope := (c.to - c.from) / c.long * second // per second²
	root := math.Sqrt(math.Max(0, c.from*c.from+2*slope*h))
	if c.from+root == 0 {
		return 0
	}
	return min(2*h/(c.from+root)*second, c.long)
}

// exponential goes from one rate to another by the same factor in the same
// time.
type exponential struct{ from, to, long float64 }

func (c exponential) length() float64        { return c.long }
func (c exponential) growth() float64        { return math.Log(c.to / c.from) }
func (c exponential) rate(t float64) float64 { return c.from * math.Exp(c.growth()*t/c.long) }

func (c exponential) total(t float64) float64 {
	k := c.growth()
	return c.from * math.Expm1(k*t/c.long) / k * (c.long / second)
}

func (c exponential) when(h float64) float64 {
	k := c.growth()
	return min(math.Log1p(h/(c.long/second)*k/c.from)/k*c.long, c.long)
}

// easing is the shape of a ramp: it goes from 0 to 1 as its argument does.
// area is its integral from 0.
type easing struct{ at, area func(u float64) float64 }

var easings = map[string]easing{
	"quadratic":  {func(u float64) float64 { return u * u }, func(u float64) float64 { return u * u * u / 3 }},
	"ease_out":   {func(u float64) float64 { return u * (2 - u) }, func(u float64) float64 { return u * u * (1 - u/3) }},
	"smoothstep": {func(u float64) float64 { return u * u * (3 - 2*u) }, func(u float64) float64 { return u * u * u * (1 - u/2) }},
}

// eased goes from one rate to another in another shape than a straight line.
type eased struct {
	from, to, long float64
	shape          easing
}

func (c eased) length() float64 { return c.long }

func (c eased) rate(t float64) float64 { return c.from + (c.to-c.from)*c.shape.at(t/c.long) }

func (c eased) total(t float64) float64 {
	return (c.from*t + (c.to-c.from)*c.shape.area(t/c.long)*c.long) / second
}

func (c eased) when(h float64) float64 { return invert(c, h, 0, c.long) }

// sine swings around a mean; phase is where it begins, in radians, and cosine
// that of it.
type sine struct{ mean, amplitude, period, phase, cosine float64 }

func (c sine) length() float64 { return math.Inf(1) }

func (c sine) angle(t float64) float64 {
	turns := t / c.period
	return 2*math.Pi*(turns-math.Floor(turns)) + c.phase
}

func (c sine) rate(t float64) float64 {
	return math.Max(0, c.mean+c.amplitude*math.Sin(c.angle(t)))
}

func (c sine) total(t float64) float64 {
	swing := c.amplitude * c.period / (2 * math.Pi) * (c.cosine - math.Cos(c.angle(t)))
	return (c.mean*t + swing) / second
}

// when looks within one period, since each has the same number of events.
func (c sine) when(h float64) float64 {
	each := c.mean * c.period / second
	periods := math.Floor(h / each)
	return periods*c.period + invert(c, h-periods*each, 0, c.period)
}

// chain is curves one after the other.
type chain struct {
	parts []curve
	start []float64 // of each part, and the end of the last
	base  []float64 // events before each part, and after the last
}

func newChain(parts ...curve) *chain {
	c := &chain{parts: parts, start: []float64{0}, base: []float64{0}}
	for i, p := range parts {
		c.start = append(c.start, c.start[i]+p.length())
		events := math.Inf(1)
		if long := p.length(); !math.IsInf(long, 1) {
			events = p.total(long)
		}
		c.base = append(c.base, c.base[i]+events)
	}
	return c
}

func (c *chain) length() float64 { return c.start[len(c.parts)] }

// at is the part that t is in; a boundary belongs to the later one.
func (c *chain) at(t float64) int {
	i, found := slices.BinarySearch(c.start, t)
	if !found {
		i--
	}
	return min(max(i, 0), len(c.parts)-1)
}

func (c *chain) rate(t float64) float64 {
	i := c.at(t)
	return c.parts[i].rate(t - c.start[i])
}

func (c *chain) total(t float64) float64 {
	i := c.at(t)
	return c.base[i] + min(c.parts[i].total(t-c.start[i]), c.base[i+1]-c.base[i])
}

// when finds the first part in which h is reached.
func (c *chain) when(h float64) float64 {
	i, _ := slices.BinarySearch(c.base[1:], h)
	i = min(i, len(c.parts)-1)
	t := c.parts[i].when(max(0, h-c.base[i]))
	return c.start[i] + min(t, c.parts[i].length())
}

// repeated is a curve again and again.
type repeated struct {
	body  curve
	times float64 // +Inf: for ever
	long  float64 // of the body
	each  float64 // its events
}

func repeat(body curve, times float64) repeated {
	long := body.length()
	return repeated{body, times, long, body.total(long)}
}

func (c repeated) length() float64 { return c.long * c.times }

// lap is the round that t is in, and the time within it.
func (c repeated) lap(t float64) (round, in float64) {
	round = min(math.Floor(t/c.long), c.times-1)
	return round, t - round*c.long
}

func (c repeated) rate(t float64) float64 {
	_, in := c.lap(t)
	return c.body.rate(in)
}

func (c repeated) total(t float64) float64 {
	round, in := c.lap(t)
	return round*c.each + c.body.total(in)
}

// when looks for the round in which h is reached; what is reached at its very
// end belongs to it, and not to the beginning of the next, which may be quiet.
func (c repeated) when(h float64) float64 {
	if c.each == 0 {
		return 0
	}
	round := max(math.Ceil(h/c.each)-1, 0)
	return round*c.long + c.body.when(min(h-round*c.each, c.each))
}

// sum adds curves up.
type sum []curve

func (c sum) length() float64 {
	long := math.Inf(1)
	for _, p := range c {
		long = min(long, p.length())
	}
	return long
}

func (c sum) rate(t float64) (r float64) {
	for _, p := range c {
		r += p.rate(t)
	}
	return r
}

func (c sum) total(t float64) (h float64) {
	for _, p := range c {
		h += p.total(t)
	}
	return h
}

func (c sum) when(h float64) float64 {
	high := c.length()
	if math.IsInf(high, 1) {
		for high = second; c.total(high) < h && high < far; high *= 2 {
		}
	}
	return invert(c, h, 0, high)
}

// far is 292 years, further than any run lasts and about all that a
// time.Duration holds.
const far = 9.2e18

// until is a curve cut off at a time.
type until struct {
	curve
	long float64
}

func (c until) length() float64 { return c.long }

func (c until) when(h float64) float64 { return min(c.curve.when(h), c.long) }

// scaled is a curve with its rates multiplied.
type scaled struct {
	curve
	factor float64
}

func (c scaled) rate(t float64) float64  { return c.curve.rate(t) * c.factor }
func (c scaled) total(t float64) float64 { return c.curve.total(t) * c.factor }
func (c scaled) when(h float64) float64  { return c.curve.when(h / c.factor) }
