package load

import "math"

const (
	noiseSlots = 10
	noiseGroup = noiseSlots * second
)

// noisy is a curve whose time runs unevenly: in each second it goes faster or
// slower by chance, which moves the rate up or down by as much. Ten seconds
// together are as long as they should be, so that nothing is added or taken
// away, the curve stays in its place, and the inverse is as exact as the
// curve's own. The time at the end that is no ten seconds is cut into ten too.
type noisy struct {
	curve
	share float64
	seed  uint64
}

// groupAt is the group that t is in: where it begins, how long it is, and how
// much of its time has gone by, within the curve, at the end of each slot.
func (c noisy) groupAt(t float64) (start, long float64, ends [noiseSlots + 1]float64) {
	n := math.Floor(t / noiseGroup)
	start, long = n*noiseGroup, noiseGroup
	if end := c.length(); t >= end && start == end && n > 0 {
		n--
		start -= noiseGroup
	}
	long = min(long, c.length()-start)
	for slot := range noiseSlots {
		x := mix(c.seed + uint64(n)*noiseSlots + uint64(slot))
		weight := max(1+c.share*(2*float64(x>>11)/(1<<53)-1), 1e-6)
		ends[slot+1] = ends[slot] + weight
	}
	for slot := range ends {
		ends[slot] *= long / ends[noiseSlots]
	}
	ends[noiseSlots] = long
	return start, long, ends
}

// inner is the time of the curve at t, and how fast it runs there.
func (c noisy) inner(t float64) (at, speed float64) {
	start, long, ends := c.groupAt(t)
	each := long / noiseSlots
	if each == 0 {
		return t, 1
	}
	slot := min(int((t-start)/each), noiseSlots-1)
	speed = (ends[slot+1] - ends[slot]) / each
	return start + min(ends[slot]+(t-start-float64(slot)*each)*speed, ends[slot+1]), speed
}

func (c noisy) rate(t float64) float64 {
	at, speed := c.inner(t)
	return c.curve.rate(at) * speed
}

func (c noisy) total(t float64) float64 {
	at, _ := c.inner(t)
	return c.curve.total(at)
}

func (c noisy) when(h float64) float64 {
	at := c.curve.when(h)
	start, long, ends := c.groupAt(at) // groups begin at the same time inside and outside
	each := long / noiseSlots
	for slot := range noiseSlots {
		if in := at - start; in <= ends[slot+1] {
			return start + float64(slot)*each + (in-ends[slot])*each/(ends[slot+1]-ends[slot])
		}
	}
	return start + long
}

// mix makes 64 random bits of a number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
