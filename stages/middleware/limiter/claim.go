package limiter

import (
	"sync"
	"time"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
)

// claim is what one batch asks for: how many events of which key.
type claim struct {
	groups  []group
	of      []int32  // the group of each open event, in order; unused without keys
	keys    []string // of each open event, in order
	ordered bool     // events may not overtake each other

	stopped int    // the group that keeps an ordered claim from going on
	stop    func() // ends the present wait
	takes   []bool // by open event, while a batch is split
}

// group is the events of one key.
type group struct {
	gate    *gate
	want    int
	can     int  // of want, that may pass now
	seen    int  // while an ordered claim is cut
	queued  bool // stands in the gate's line
	counted int  // in the gate's need
}

var claims = sync.Pool{New: func() any { return new(claim) }}

// release lets go of everything that belongs to the batch.
func (c *claim) release() {
	clear(c.groups)
	clear(c.keys)
	c.groups, c.of, c.keys, c.stop = c.groups[:0], c.of[:0], c.keys[:0], nil
	claims.Put(c)
}

// read finds the keys of the open events. An event whose key cannot be found
// is bad.
func (c *claim) read(b *event.Batch, key expression.Text) {
	c.keys = c.keys[:0]
	for row, e := range b.Open() {
		text, err := key.Of(e)
		if err != nil {
			b.Refuse(row, stage.Bad(err))
			continue
		}
		c.keys = append(c.keys, text)
	}
}

// sort puts the events in groups by their gates. Called under the lock.
func (c *claim) sort(k *keys, number uint64, now time.Duration) {
	var last *gate
	for i, key := range c.keys {
		if i == 0 || key != c.keys[i-1] {
			last = k.find(key, now)
		}
		if last.claim != number {
			last.claim, last.place = number, len(c.groups)
			c.groups = append(c.groups, group{gate: last})
		}
		c.groups[last.place].want++
		c.of = append(c.of, int32(last.place))
	}
}

// cut takes back what may pass but comes behind an event that may not.
func (c *claim) cut() {
	c.stopped = -1
	for i := range c.groups {
		c.groups[i].seen = 0
	}
	for _, i := range c.of {
		g := &c.groups[i]
		if g.seen == g.can {
			c.stopped = int(i)
			break
		}
		g.seen++
	}
	for i := range c.groups {
		c.groups[i].can = c.groups[i].seen
	}
}

// split makes two views of a batch: the events that may pass, and the rest.
func (c *claim) split(b *event.Batch, granted int) (now, later *event.Batch) {
	if len(c.of) == 0 {
		return b.Split(granted)
	}
	c.takes = c.takes[:0]
	for _, i := range c.of {
		g := &c.groups[i]
		c.takes = append(c.takes, g.can > 0)
		g.can--
	}
	return c.choose(b, true), c.choose(b, false)
}

func (c *claim) choose(b *event.Batch, takes bool) *event.Batch {
	i := -1
	return b.Select(func(int, *event.Event) bool {
		i++
		return c.takes[i] == takes
	})
}
