package generator

import "math"

// zipf draws ranks by Zipf's law: rank r, from 1, has a weight of r to the
// power of minus the exponent, as the popularity of products, users and words
// has. The first ranks have an entry each in a table; those behind them share
// one per cent of their rank, within which they are equally likely. So the
// table stays small however many ranks there are, and a draw takes constant
// time.
type zipf struct {
	starts []int64 // first rank of each entry, from 0; one more at the end
	pick   alias
}

// alone is how many ranks have an entry of their own.
const alone = 1000

// maxExponent keeps the weights within what a float can hold.
const maxExponent = 10

func newZipf(ranks int64, exponent float64) zipf {
	var z zipf
	var weights []float64
	for rank := int64(0); rank < ranks; {
		width := int64(1)
		if rank >= alone {
			width = min(rank/100, ranks-rank)
		}
		z.starts = append(z.starts, rank)
		middle := float64(rank) + float64(width+1)/2
		weights = append(weights, float64(width)*math.Pow(middle, -exponent))
		rank += width
	}
	z.starts = append(z.starts, ranks)
	z.pick, _ = newAlias(weights) // the first weight is 1
	return z
}

// draw picks a rank, from 0, by random bits.
func (z *zipf) draw(x uint64) int64 {
	at := z.pick.draw(x)
	start, width := z.starts[at], uint64(z.starts[at+1]-z.starts[at])
	if width == 1 {
		return start
	}
	return start + int64(below(mix(x+golden), width))
}
