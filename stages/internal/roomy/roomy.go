// Package roomy gives events room for more attributes, a batch at a time: a
// stage that adds one to each event would otherwise cost each an allocation.
package roomy

import "millrace/engine/event"

// Room is memory for the attributes of the events of one batch. The zero Room
// is ready to use.
type Room struct{ free []event.Attribute }

// maxChunk bounds what is taken at once, in attributes.
const maxChunk = 16 << 10

// Make sees to it that n attributes can be added to an event without an
// allocation. left is about how many more events will ask, this one included.
func (r *Room) Make(e *event.Event, n, left int) {
	had := len(e.Attributes)
	if cap(e.Attributes)-had >= n {
		return
	}
	need := had + n
	if len(r.free) < need {
		r.free = make([]event.Attribute, max(need, min(need*left, maxChunk)))
	}
	copy(r.free, e.Attributes)
	e.Attributes, r.free = r.free[:had:need], r.free[need:]
}
