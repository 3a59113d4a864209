package poisonqueue

import (
	"sync"

	"millrace/engine/event"
)

// given is how the events of a batch were when they came, by row. The chain
// inside changes events in place, and what is replayed goes through it again:
// it has to begin with what the source gave, not with what became of it.
type given struct {
	events     []event.Event
	kept       []bool            // which of them came
	attributes []event.Attribute // of all of them
}

// givens are used again: a copy of each batch is made, though few are needed.
var givens = sync.Pool{New: func() any { return new(given) }}

// given is what is remembered of a batch since its first attempt. A stage
// outside, such as a limiter, may hand the batch on in parts: each part is
// added when it comes.
func (q *queue) given(b *event.Batch) *given {
	g := event.Memo(b, q, func() *given {
		g := givens.Get().(*given)
		g.events, g.kept, g.attributes = g.events[:0], g.kept[:0], g.attributes[:0]
		return g
	})
	g.copy(b)
	return g
}

// copy takes the events that are open and come for the first time. The chain
// does not see those that their source could not read.
func (g *given) copy(b *event.Batch) {
	for row, e := range b.All() {
		for len(g.events) <= row {
			g.events, g.kept = append(g.events, event.Event{}), append(g.kept, false)
		}
		if b.Outcome(row) != event.Open || g.kept[row] {
			continue
		}
		g.kept[row] = true
		first := len(g.attributes)
		g.attributes = append(g.attributes, e.Attributes...)
		g.events[row] = *e
		g.events[row].Attributes = g.attributes[first:len(g.attributes):len(g.attributes)]
	}
}

// event is how the event in a row came, and whether its source could read it.
func (g *given) event(b *event.Batch, row int) (e *event.Event, read bool) {
	if g.kept[row] {
		return &g.events[row], true
	}
	return b.Event(row), false
}

// forget lets go of what is remembered of a batch, if all of that is settled.
func (q *queue) forget(b *event.Batch, g *given) {
	for row := range g.events {
		if g.kept[row] && !b.Outcome(row).Final() {
			return
		}
	}
	event.Forget(b, q)
	clear(g.events) // and of the memory of its source
	clear(g.attributes)
	givens.Put(g)
}
