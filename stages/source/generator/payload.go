package generator

import (
	"math"
	"slices"

	"millrace/engine/stage"
)

// Payload is how large an additional text is.
type Payload struct {
	// Size is a size such as 512, or a range such as 256..4KiB.
	Size Sizes `yaml:"size"`
	// Spread is how the sizes of a range are distributed: uniform, or lognormal (most near the geometric middle, few very large ones, as in real logs). Default uniform.
	Spread string `yaml:"spread"`
	// Weighted is a map of sizes, or ranges of them, to their weights, instead of one size: {200..400: 95, 64KiB: 5}.
	Weighted map[string]float64 `yaml:"weighted"`
}

// UnmarshalText reads a payload that is only a size.
func (p *Payload) UnmarshalText(text []byte) error {
	*p = Payload{}
	return p.Size.UnmarshalText(text)
}

// MarshalText writes the size as a file would.
func (p Payload) MarshalText() ([]byte, error) { return p.Size.MarshalText() }

// payload is a Payload ready to draw sizes.
type payload struct {
	ranges    []Sizes
	weights   alias // of the ranges; without: there is one
	quantiles []int // of a lognormal spread, evenly from 0 to 1
	most      stage.Size
}

// some tells whether there is a payload at all.
func (p *payload) some() bool { return p.most > 0 }

// quantiles is how finely a lognormal spread is drawn; between two of them
// sizes are equally likely.
const quantiles = 1 << 10

func newPayload(c Payload, p *stage.Problems) payload {
	ranges, weights := []Sizes{c.Size}, []float64{1}
	if c.Weighted != nil {
		if c.Size.max != 0 || c.Spread != "" {
			p.Add("content.payload", "must have either weighted, or size and spread")
		}
		ranges, weights = weightedSizes(c.Weighted, p)
	}
	made := payload{ranges: ranges}
	for _, r := range ranges {
		if made.most = max(made.most, r.max); r.min < 0 || r.max > maxPayload {
			p.Add("content.payload", "must be between 0 and %v, got %v", stage.Size(maxPayload), r)
		}
	}
	if len(ranges) > 0 {
		drawn, err := newAlias(weights)
		if err != nil {
			p.Add("content.payload.weighted", "%v", err)
		}
		if len(ranges) > 1 {
			made.weights = drawn
		}
	}
	switch c.Spread {
	case "", "uniform":
	case "lognormal":
		made.quantiles = lognormal(c.Size)
	default:
		p.OneOf("content.payload.spread", c.Spread, "uniform", "lognormal")
	}
	return made
}

func weightedSizes(weighted map[string]float64, p *stage.Problems) (ranges []Sizes, weights []float64) {
	names, weights := sorted(weighted)
	if len(names) == 0 {
		p.Add("content.payload.weighted", "must have at least one entry, got none")
	}
	for _, name := range names {
		var s Sizes
		if err := s.UnmarshalText([]byte(name)); err != nil {
			p.Add("content.payload.weighted."+name, "%v", err)
		}
		ranges = append(ranges, s)
	}
	return ranges, weights
}

// lognormal makes the quantiles of sizes whose logarithms are distributed
// normally around the middle of those of both ends; the ends are three
// standard deviations away.
func lognormal(s Sizes) []int {
	low, high := math.Log(float64(max(s.min, 1))), math.Log(float64(max(s.max, 1)))
	sizes := make([]int, quantiles+1)
	for i := range sizes {
		normal := math.Sqrt2 * math.Erfinv(2*float64(i)/quantiles-1)
		size := math.Exp((low+high)/2 + (high-low)/6*min(max(normal, -3), 3))
		sizes[i] = min(max(int(math.Round(size)), int(s.min)), int(s.max))
	}
	return slices.Clip(sizes)
}

// draw picks a size.
func (p *payload) draw(x uint64) int {
	if p.quantiles != nil {
		at := x >> 54
		return between(p.quantiles[at], p.quantiles[at+1], x<<10)
	}
	r := &p.ranges[0]
	if p.weights.keep != nil {
		r = &p.ranges[p.weights.draw(x)]
		x = mix(x + golden)
	}
	return between(int(r.min), int(r.max), x)
}

// between draws a number, both ends included.
func between(low, high int, x uint64) int { return low + int(below(x, uint64(high-low)+1)) }
