package generator

import (
	"fmt"
	"math"
	"math/bits"
)

// key is what an event's content is made from: every value is a hash of the
// key and the name of what is drawn. There is no generator whose state would
// be passed on, so an event's bytes depend on nothing but seed and number, not
// on threads, not on other fields, not on the order in which they are made.
type key uint64

// golden is 2^64 divided by the golden ratio: the increment of splitmix64.
const golden = 0x9e3779b97f4a7c15

// baseOf is where the keys of a seed begin.
func baseOf(seed int64) uint64 { return mix(uint64(seed) + golden) }

// keyOf is the key of event number i.
func keyOf(base uint64, i int64) key { return key(mix(base + uint64(i)*golden)) }

// draw is 64 random bits for the thing named by salt.
func (k key) draw(salt uint64) uint64 { return mix(uint64(k) ^ salt) }

// mix is the finishing step of splitmix64: a bijection that leaves no trace of
// the order in its input.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// saltOf makes a name a salt (FNV-1a, mixed).
func saltOf(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return mix(h)
}

// below turns random bits into a number below n, by the high half of a
// product rather than a slow and skewed remainder.
func below(x, n uint64) uint64 {
	high, _ := bits.Mul64(x, n)
	return high
}

// alias draws an index by weight in constant time (Walker and Vose): each
// index owns an equal share of the range, and gives the upper part of its
// share to one other.
type alias struct {
	keep  []uint64 // of 2^64: below it the index itself is meant
	other []int32
}

// newAlias makes the table of these weights, of which at least one is above 0.
func newAlias(weights []float64) (alias, error) {
	sum := 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 1) {
			return alias{}, fmt.Errorf("a weight must be a number of at least 0, got %v (entry %d)", w, i)
		}
		sum += w
	}
	if !(sum > 0) || math.IsInf(sum, 1) {
		return alias{}, fmt.Errorf("the sum of weights must be above 0 and finite, got %v", sum)
	}
	a := alias{make([]uint64, len(weights)), make([]int32, len(weights))}
	a.fill(weights, sum)
	return a, nil
}

func (a alias) fill(weights []float64, sum float64) {
	n := float64(len(weights))
	share := make([]float64, len(weights))
	var small, large []int
	for i, w := range weights {
		a.other[i] = int32(i)
		if share[i] = w / sum * n; share[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.keep[s], a.other[s] = uint64(share[s]*(1<<63))<<1, int32(l)
		if share[l] -= 1 - share[s]; share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // full but for rounding
		a.keep[i] = math.MaxUint64
	}
}

// draw picks an index by random bits.
func (a alias) draw(x uint64) int {
	i, rest := bits.Mul64(x, uint64(len(a.keep)))
	if rest < a.keep[i] {
		return int(i)
	}
	return int(a.other[i])
}
