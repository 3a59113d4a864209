package load

import (
	"math"
	"math/rand/v2"
)

// How long the periods of on_off are.
const (
	distConstant    = "constant"
	distExponential = "exponential"
	distPareto      = "pareto"
)

var dists = []string{distConstant, distExponential, distPareto}

const (
	// periodStream tells the random numbers of periods from others of a seed.
	periodStream = 0x706572696f64
	// paretoShape lies between 1, where there is a mean, and 2, below which the
	// variance is infinite: the traffic of many such sources looks the same at
	// every scale, as that of real networks does.
	paretoShape = 1.5
	// longest is how many times its mean a period is at most.
	longest = 1000
	// cycles is after how many times on and off a phase without an end repeats.
	cycles = 256
)

// periods draws the times on and off of a phase, once, so that they are a curve
// like any other: flat pieces, summed up beforehand.
func (c *compiler) periods(below string, o *OnOff, long float64) curve {
	c.drawn++
	random := rand.New(rand.NewPCG(mix(uint64(c.seed)), periodStream+c.drawn))
	draw := func(mean float64) float64 {
		x := random.ExpFloat64()
		if o.Dist == distPareto {
			x = (paretoShape - 1) / paretoShape * math.Exp(x/paretoShape)
		}
		return max(math.Round(mean*min(x, longest)), 1)
	}
	var parts []curve
	for at := 0.0; at < long; {
		on, off := draw(float64(o.OnFor)), draw(float64(o.OffFor))
		parts = append(parts, flat(float64(o.On), on), flat(float64(o.Off), off))
		at += on + off
		if math.IsInf(long, 1) && len(parts) == 2*cycles {
			return repeat(newChain(parts...), math.Inf(1))
		}
		if c.parts += 2; c.parts > maxParts {
			c.add(below+".on_for", "makes more than %d periods with off_for, got %v", maxParts, o.OnFor)
			return nil
		}
	}
	return newChain(parts...)
}
