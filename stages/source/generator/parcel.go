package generator

import "millrace/engine/event"

// parcel is the memory of one parcel of events: the events, their attributes
// in one slice, and their texts in the arenas of one scribe per thread. It is
// used again after Done, so that a running generator allocates nothing.
type parcel struct {
	events     []event.Event
	attributes []event.Attribute
	scribes    []scribe
	turn       turn                // what it was made for, without the times
	done       func(event.Receipt) // made once, rather than for each parcel
}

// size is how large the events are, as Event.Size counts.
func (p *parcel) size() int {
	n := 0
	for i := range p.scribes {
		n += p.scribes[i].size
	}
	return n
}

// reset makes room for n events with so many attributes each. What the memory
// held is overwritten by fill.
func (p *parcel) reset(n, width int) {
	if cap(p.events) < n {
		p.events = make([]event.Event, n)
	}
	if need := cap(p.events) * width; len(p.attributes) < need {
		p.attributes = make([]event.Attribute, need)
	}
	p.events = p.events[:n]
	for i := range p.scribes {
		p.scribes[i].size = 0 // not all of them write in each turn
	}
}

// attributesOf is the place for the attributes of the event in a row. Its
// capacity is clipped: stages append.
func (p *parcel) attributesOf(row, width int) []event.Attribute {
	return p.attributes[row*width : (row+1)*width : (row+1)*width]
}
