package load

import (
	"math"
	"sync/atomic"
)

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
	last  *atomic.Pointer[group] // that was asked for: the next question is likely about it
}

// group is ten slots.
type group struct {
	number, start, long float64
	ends                [noiseSlots + 1]float64 // how much of the curve's time has gone by at the end of each slot
}

// groupAt is the group that t is in. Groups begin at the same time inside the
// curve and outside.
func (c noisy) groupAt(t float64) *group {
	n := math.Floor(t / noiseGroup)
	if end := c.length(); t >= end && n > 0 && n*noiseGroup == end {
		n--
	}
	g := c.last.Load()
	if g == nil || g.number != n {
		g = c.group(n)
		c.last.Store(g)
	}
	return g
}

func (c noisy) group(n float64) *group {
	g := &group{number: n, start: n * noiseGroup}
	g.long = min(noiseGroup, c.length()-g.start)
	for slot := range noiseSlots {
		x := mix(c.seed + uint64(n)*noiseSlots + uint64(slot))
		weight := max(1+c.share*(2*float64(x>>11)/(1<<53)-1), 1e-6)
		g.ends[slot+1] = g.ends[slot] + weight
	}
	factor := g.long / g.ends[noiseSlots]
	for slot := range g.ends {
		g.ends[slot] *= factor
	}
	g.ends[noiseSlots] = g.long
	return g
}

// slotAt is the slot of a time, and how fast the curve runs in it.
func (g *group) slotAt(t float64) (slot int, speed float64) {
	each := g.long / noiseSlots
	if each == 0 {
		return 0, 1
	}
	slot = min(int((t-g.start)/each), noiseSlots-1)
	return slot, (g.ends[slot+1] - g.ends[slot]) / each
}

// inner is the time of the curve at t, and how fast it runs there.
func (c noisy) inner(t float64) (at, speed float64) {
	g := c.groupAt(t)
	slot, speed := g.slotAt(t)
	in := g.ends[slot] + (t-g.start-float64(slot)*g.long/noiseSlots)*speed
	return g.start + min(in, g.ends[slot+1]), speed
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
	g := c.groupAt(at)
	each := g.long / noiseSlots
	for slot := range noiseSlots {
		if in := at - g.start; in <= g.ends[slot+1] {
			return g.start + float64(slot)*each + (in-g.ends[slot])*each/(g.ends[slot+1]-g.ends[slot])
		}
	}
	return g.start + g.long
}

// mix makes 64 random bits of a number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
