package load

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// shape makes the curve of a shape that lasts at most so long; nil when it is
// impossible, which has been reported then.
func (c *compiler) shape(s *Shape, key string, long float64) curve {
	given := s.given()
	if len(given) != 1 {
		c.add(key, "must have one shape of constant, ramp, step, spike, sine, on_off, trace, sum and pause, got %s", list(given))
		return nil
	}
	below := key + "." + given[0]
	switch {
	case s.Constant != nil:
		if !c.rate(below, *s.Constant) {
			return nil
		}
		return flat(float64(*s.Constant), long)
	case s.Ramp != nil:
		return c.ramp(below, key, s.Ramp, long)
	case s.Step != nil:
		return c.step(below, key, s.Step, long)
	case s.Spike != nil:
		return c.spike(below, s.Spike, long)
	case s.Sine != nil:
		return c.sine(below, s.Sine)
	case s.OnOff != nil:
		return c.onOff(below, s.OnOff, long)
	case s.Trace != nil:
		return c.trace(below, s.Trace)
	case s.Sum != nil:
		return c.sum(below, s.Sum, long)
	default:
		if !c.within(below, *s.Pause, 1, maxTimes) {
			return nil
		}
		return flat(0, float64(*s.Pause))
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strconv.Itoa(len(names)) + ": " + strings.Join(names, ", ")
}

// needsLength reports a phase without a length whose shape has none of its own.
func (c *compiler) needsLength(key, what string, long float64) bool {
	if math.IsInf(long, 1) {
		c.add(key+".for", "is required: %s needs a length, such as for: 1m", what)
		return true
	}
	return false
}

func (c *compiler) ramp(below, key string, r *Ramp, long float64) curve {
	ok := c.rate(below+".from", r.From)
	ok = c.rate(below+".to", r.To) && ok
	shape, eases := easings[r.Curve]
	if !eases {
		c.problems.OneOf(below+".curve", or(r.Curve, "linear"), "linear", "quadratic", "ease_out", "smoothstep", "exponential")
		ok = ok && slices.Contains([]string{"", "linear", "exponential"}, r.Curve)
	}
	if r.Curve == "exponential" && ok && (r.From == 0 || r.To == 0) {
		c.add(below+".curve", "exponential cannot begin or end at 0: a factor of 0 is no growth; give from and to rates above 0")
		ok = false
	}
	from, to := float64(r.From), float64(r.To)
	switch {
	case c.needsLength(key, "a ramp", long) || !ok:
		return nil
	case from == to:
		return flat(from, long)
	case eases:
		return eased{from, to, long, shape}
	case r.Curve == "exponential":
		return exponential{from, to, long}
	default:
		return linear{from, to, long}
	}
}

func (c *compiler) step(below, key string, s *Step, long float64) curve {
	ok := c.rate(below+".from", s.From)
	switch by := float64(s.By); {
	case by == 0 || math.IsNaN(by) || math.IsInf(by, 0):
		c.add(below+".by", "must not be 0, got %v", s.By)
		ok = false
	case s.To != nil:
		ok = c.rate(below+".to", *s.To) && ok
		if (*s.To > s.From) != (by > 0) || *s.To == s.From {
			c.add(below+".by", "must lead from %v to %v, got %v", s.From, *s.To, s.By)
			ok = false
		}
	}
	if !c.within(below+".every", s.Every, 1, maxTimes) || s.To == nil && c.needsLength(key, "a staircase without `to:`", long) || !ok {
		return nil
	}
	return c.stairs(below, s, long)
}

// stairs makes a stair at a time, until the last rate is reached or the time
// is over.
func (c *compiler) stairs(below string, s *Step, long float64) curve {
	var parts []curve
	every := float64(s.Every)
	for i := 0; ; i++ {
		rate, last := float64(s.From)+float64(i)*float64(s.By), false
		if s.To != nil && (s.By > 0) == (rate >= float64(*s.To)) {
			rate, last = float64(*s.To), true
		}
		if !c.rate(below+".by", Rate(rate)) {
			return nil
		}
		left := long - float64(i)*every
		switch {
		case last && math.IsInf(long, 1):
			return newChain(append(parts, flat(rate, every))...)
		case last || left <= every:
			return newChain(append(parts, flat(rate, left))...)
		}
		if c.parts++; c.parts > maxParts {
			c.add(below+".every", "makes more than %d stairs, got %v", maxParts, s.Every)
			return nil
		}
		parts = append(parts, flat(rate, every))
	}
}

func (c *compiler) spike(below string, s *Spike, long float64) curve {
	ok := c.rate(below+".base", s.Base)
	ok = c.rate(below+".peak", s.Peak) && ok
	whole := stage.Duration(0)
	for name, d := range map[string]stage.Duration{"after": s.After, "rise": s.Rise, "hold": s.Hold, "fall": s.Fall} {
		ok = c.within(below+"."+name, d, 0, maxTimes/10) && ok
		whole += d
	}
	ok = c.within(below+".every", s.Every, 0, maxTimes) && ok
	switch {
	case !ok:
		return nil
	case s.Rise+s.Hold+s.Fall == 0:
		c.add(below+".hold", "is required: a spike takes some time in rise, hold or fall")
		return nil
	case s.Every > 0 && s.Every < whole:
		c.add(below+".every", "must be at least %v, which after, rise, hold and fall take together, got %v", whole, s.Every)
		return nil
	case s.Every == 0 && float64(whole) > long:
		c.add(below, "takes %v, longer than its phase", whole)
		return nil
	}
	base, peak := float64(s.Base), float64(s.Peak)
	var parts []curve
	add := func(from, to, long float64) {
		if long > 0 {
			parts = append(parts, linear{from, to, long})
		}
	}
	add(base, base, float64(s.After))
	add(base, peak, float64(s.Rise))
	add(peak, peak, float64(s.Hold))
	add(peak, base, float64(s.Fall))
	if s.Every > 0 {
		add(base, base, float64(s.Every-whole))
		return repeat(newChain(parts...), math.Inf(1))
	}
	add(base, base, long-float64(whole))
	return newChain(parts...)
}

// starts is where on its circle a sine begins.
var starts = map[string]float64{"": 0, "mean_up": 0, "peak": math.Pi / 2, "mean_down": math.Pi, "trough": 3 * math.Pi / 2}

func (c *compiler) sine(below string, s *Sine) curve {
	ok := c.rate(below+".mean", s.Mean)
	ok = c.rate(below+".amplitude", s.Amplitude) && ok
	if ok && s.Amplitude > s.Mean {
		c.add(below+".amplitude", "must be at most the mean of %v, since no rate is below 0, got %v", s.Mean, s.Amplitude)
		ok = false
	}
	ok = ok && c.rate(below+".amplitude", s.Mean+s.Amplitude)
	if ok && s.Mean == 0 {
		c.add(below+".mean", "must be above 0, got %v", s.Mean)
		ok = false
	}
	ok = c.within(below+".period", s.Period, stage.Duration(Tick), maxTimes) && ok
	phase, known := starts[s.Start]
	if !known {
		c.problems.OneOf(below+".start", s.Start, "mean_up", "peak", "mean_down", "trough")
	}
	if !ok || !known {
		return nil
	}
	return sine{float64(s.Mean), float64(s.Amplitude), float64(s.Period), phase, math.Cos(phase)}
}

func (c *compiler) onOff(below string, o *OnOff, long float64) curve {
	ok := c.rate(below+".on", o.On)
	ok = c.rate(below+".off", o.Off) && ok
	ok = c.within(below+".on_for", o.OnFor, 1, maxTimes/10) && ok
	ok = c.within(below+".off_for", o.OffFor, 1, maxTimes/10) && ok
	known := slices.Contains(dists, or(o.Dist, distConstant))
	if !known {
		c.problems.OneOf(below+".dist", o.Dist, dists...)
	}
	switch {
	case !ok || !known:
		return nil
	case o.Dist != "" && o.Dist != distConstant:
		return c.periods(below, o, long)
	}
	return repeat(newChain(flat(float64(o.On), float64(o.OnFor)), flat(float64(o.Off), float64(o.OffFor))), math.Inf(1))
}

func (c *compiler) sum(below string, shapes []Shape, long float64) curve {
	if len(shapes) == 0 {
		c.add(below, "must have at least one shape, got none")
		return nil
	}
	var parts sum
	for i := range shapes {
		key := below + "." + strconv.Itoa(i)
		if shapes[i].Sum != nil || shapes[i].Pause != nil {
			c.add(key, "must be a shape that can be added; sum and pause cannot")
			continue
		}
		if part := c.shape(&shapes[i], key, long); part != nil {
			if part.length() < long {
				part = newChain(part, flat(0, long-part.length()))
			}
			parts = append(parts, part)
		}
	}
	if len(parts) < len(shapes) {
		return nil
	}
	return parts
}
