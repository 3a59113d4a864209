package load

import (
	"math"
	"math/rand/v2"
)

// gaps says how far apart events are, in units of the mean gap: the process
// behind the curve, which stretches and squeezes it in time.
type gaps struct {
	kind   gapKind
	share  float64 // of jitter
	shape  float64 // of gamma
	random *rand.Rand
	moved  float64 // by how much the last event of jitter was moved
}

type gapKind uint8

const (
	even gapKind = iota
	jittered
	exponentials
	gammas
)

// arrivalStream tells the random numbers of arrivals from others of a seed.
const arrivalStream = 0x617272697661

func newGaps(a Arrivals, seed int64) *gaps {
	g := &gaps{}
	switch {
	case a.Gamma != nil:
		g.kind, g.shape = gammas, 1/(a.Gamma.CV*a.Gamma.CV)
	case a.Jitter != nil:
		g.kind, g.share = jittered, float64(*a.Jitter)
	case a.Kind == poisson:
		g.kind = exponentials
	}
	if g.kind != even {
		g.random = rand.New(rand.NewPCG(mix(uint64(seed)), arrivalStream))
	}
	return g
}

// first is where the first event is, counted from the beginning.
func (g *gaps) first() float64 { return g.next() }

// next is the gap to the next event; its mean is 1.
func (g *gaps) next() float64 {
	switch g.kind {
	case even:
		return 1
	case jittered:
		// Each event stays within half a gap of its place, so that they keep
		// their order and their count.
		before := g.moved
		g.moved = (g.random.Float64() - 0.5) * g.share
		return 1 + g.moved - before
	case exponentials:
		return g.random.ExpFloat64()
	default:
		return g.gamma() / g.shape
	}
}

// gamma draws from the gamma distribution with the shape and the scale 1, by
// the method of Marsaglia and Tsang; a shape below 1 is drawn as one above,
// times a power.
func (g *gaps) gamma() float64 {
	shape, factor := g.shape, 1.0
	if shape < 1 {
		factor = math.Pow(1-g.random.Float64(), 1/shape)
		shape++
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := g.random.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := 1 - g.random.Float64()
		if math.Log(u) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v * factor
		}
	}
}
