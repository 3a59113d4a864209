package generator

import (
	"math"
	"time"

	"millrace/engine/load"
)

// crew is the workers of a closed load: each sends one event, waits until it
// is settled, thinks, and sends the next. An open load has none, and waits for
// nobody.
type crew struct {
	plan     *load.Plan
	number   int64 // of this crew; parcels of another one are none of its business
	size     int64 // 0: an open load
	idle     int64
	think    time.Duration
	thinking []thinkers // those that will be back, in order
	waiting  bool       // somebody waits for a worker
}

// thinkers are workers that are back at the same time.
type thinkers struct {
	back time.Duration
	n    int64
}

func newCrew(p *load.Plan) (c crew) {
	c.follow(p)
	return c
}

// follow makes a new crew when another plan plays.
func (c *crew) follow(p *load.Plan) {
	if c.plan == p {
		return
	}
	*c = crew{plan: p, number: c.number + 1}
	if m := p.Profile.Model.Closed; m != nil {
		c.size, c.idle, c.think = int64(m.Workers), int64(m.Workers), m.Think.Std()
	}
}

// free is how many events can be sent now.
func (c *crew) free(since time.Duration) int64 {
	if c.size == 0 {
		return math.MaxInt64
	}
	done := 0
	for done < len(c.thinking) && c.thinking[done].back <= since {
		c.idle += c.thinking[done].n
		done++
	}
	c.thinking = c.thinking[:copy(c.thinking, c.thinking[done:])]
	c.waiting = c.idle == 0
	return c.idle
}

// back is when the next worker is there again, if it is known.
func (c *crew) back() (time.Duration, bool) {
	if len(c.thinking) == 0 {
		return 0, false
	}
	return c.thinking[0].back, true
}

// send takes workers for events, and says which crew they are of.
func (c *crew) send(n int64) int64 {
	if c.size == 0 {
		return 0
	}
	c.idle -= n
	return c.number
}

// settled lets workers think whose events are settled. It tells whether
// somebody waits for them.
func (c *crew) settled(crew, n int64, since time.Duration) bool {
	if c.size == 0 || crew != c.number {
		return false
	}
	c.thinking = append(c.thinking, thinkers{since + c.think, n})
	return c.waiting
}
