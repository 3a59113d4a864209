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
	runs    []stretch // the open events in order; unused without keys
	ordered bool      // events may not overtake each other

	stopped int    // the group that keeps an ordered claim from going on
	stop    func() // ends the present wait
	takes   []bool // by what counts as one, while a batch is split
	whole   bool   // requests count, and not events
	begins  []bool // by open event, of requests: whether it is the first of one
}

// stretch is neighbouring events, or requests, with the same key.
type stretch struct {
	key   string
	n     int
	group int
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
	clear(c.runs)
	c.begins = c.begins[:0]
	c.groups, c.runs, c.stop = c.groups[:0], c.runs[:0], nil
	claims.Put(c)
}

// read finds the keys of the open events and says how many events, or
// requests, they are. An event whose key cannot be found is bad. The key of a
// request is that of its first event.
func (c *claim) read(b *event.Batch, key keyOf) (n int) {
	c.runs, c.begins = c.runs[:0], c.begins[:0]
	parcel := -1
	for row, e := range b.Open() {
		if c.whole && parcel == b.Parcel(row) {
			c.begins = append(c.begins, false)
			continue
		}
		text, err := key(e)
		if err != nil {
			b.Refuse(row, stage.Bad(err))
			continue
		}
		n++
		if c.whole {
			parcel = b.Parcel(row)
			c.begins = append(c.begins, true)
		}
		if last := len(c.runs) - 1; last >= 0 && c.runs[last].key == text {
			c.runs[last].n++
		} else {
			c.runs = append(c.runs, stretch{key: text, n: 1})
		}
	}
	return n
}

// noKey is the key of a limit that counts requests without one.
func noKey(*event.Event) (string, error) { return "", nil }

// keyOf finds the key of an event.
type keyOf func(*event.Event) (string, error)

// reader is the expression itself, or a shorter way to the same.
func reader(key expression.Text) keyOf {
	switch key.String() {
	case "source":
		return func(e *event.Event) (string, error) { return e.Source, nil }
	case "host":
		return func(e *event.Event) (string, error) { return e.Host, nil }
	case "organisation":
		return func(e *event.Event) (string, error) { return e.Organisation, nil }
	default:
		return key.Of
	}
}

// sort puts the events in groups by their gates. Called under the lock.
func (c *claim) sort(k *keys, number uint64, now time.Duration) {
	for i := range c.runs {
		r := &c.runs[i]
		g := k.find(r.key, now)
		if g.claim != number {
			g.claim, g.place = number, len(c.groups)
			c.groups = append(c.groups, group{gate: g})
		}
		r.group = g.place
		c.groups[g.place].want += r.n
	}
}

// cut takes back what may pass but comes behind an event that may not.
func (c *claim) cut() {
	c.stopped = -1
	for i := range c.groups {
		c.groups[i].seen = 0
	}
	for _, r := range c.runs {
		g := &c.groups[r.group]
		n := min(r.n, g.can-g.seen)
		g.seen += n
		if n < r.n {
			c.stopped = r.group
			break
		}
	}
	for i := range c.groups {
		c.groups[i].can = c.groups[i].seen
	}
}

// split makes two views of a batch: the events that may pass, and the rest.
func (c *claim) split(b *event.Batch, granted int) (now, later *event.Batch) {
	if len(c.runs) == 0 {
		return b.Split(granted)
	}
	c.takes = c.takes[:0]
	for _, r := range c.runs {
		g := &c.groups[r.group]
		for range r.n {
			c.takes = append(c.takes, g.can > 0)
			g.can--
		}
	}
	return c.choose(b, true), c.choose(b, false)
}

func (c *claim) choose(b *event.Batch, takes bool) *event.Batch {
	i, n := -1, -1
	return b.Select(func(int, *event.Event) bool {
		if n++; !c.whole || c.begins[n] {
			i++
		}
		return c.takes[i] == takes
	})
}
