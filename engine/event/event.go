// Package event is the one data type of Millrace: the Event, the Batch it
// travels in, and what became of it.
//
// A source reads events and hands them to the engine. The engine puts them
// into batches; a batch goes through the chain of a route as one Watermill
// message. Each event of a batch is unsettled until exactly one stage settles
// it with an Outcome. Whoever settles also says it, at that moment, to the
// batch's observer: that is where the books, the answer to an HTTP client and
// the committed Kafka offset come from.
//
//	Open ── Settle ──▶ Delivered | Filtered | Shed | Poisoned | Rejected | Returned
//	  │ ▲
//	  │ └─ Fail: stays Open, remembers why; the next attempt tries it again
//	  └─ Refuse: Refused, a bad event: no attempt sees it again, only a
//	             poison queue (or the source being told no) can settle it
//
// Nothing in this package is safe for concurrent use: a batch belongs to one
// goroutine at a time. Branches made by Fork are batches of their own and may
// be worked on side by side.
package event

import (
	"time"

	"github.com/google/uuid"
)

// Event is one log line or one event of an application. Strings and byte
// slices may point into memory that its source uses again after the event is
// settled: whoever keeps something longer copies it.
type Event struct {
	// ID is the same for the same event however often it is read; sinks use it
	// to make a second delivery harmless.
	ID uuid.UUID
	// Time is when it happened, by the account of its producer.
	Time time.Time
	// Due is when the event was due at the pipeline (a generator's schedule,
	// the arrival of a request, a Kafka record's timestamp) in Unix
	// nanoseconds. Latency is counted from here. 0: unknown.
	Due int64
	// Offset is its place in its Origin: a Kafka offset, a byte offset of a
	// file, an index in a request.
	Offset int64

	Level         Level
	Source        string // application or service that wrote it
	Host          string
	Message       string
	CorrelationID string
	TraceID       string
	SpanID        string
	Organisation  string
	StackTrace    string
	// Attributes is the metadata. A source that cuts it from a larger slice
	// clips its capacity, since stages append.
	Attributes []Attribute

	// Key is the record key it came with, if any.
	Key string
	// Raw is the event as received, byte for byte, for the poison queue; nil
	// when it was made here.
	Raw []byte

	// Replays is how often a replay of bad events brought it back, this time
	// included. Only a replay counts, and the reader of a place that a replay
	// writes to and no client does: it is not an attribute, which anybody can
	// send.
	Replays int32

	shared bool // Attributes is also used by another branch: copy before writing
}

// Attribute is one entry of an event's metadata. Keys are unique in an event.
type Attribute struct {
	Key   string
	Value Value
}

// Attribute finds a metadata value by its key.
func (e *Event) Attribute(key string) (Value, bool) {
	for i := range e.Attributes {
		if e.Attributes[i].Key == key {
			return e.Attributes[i].Value, true
		}
	}
	return Value{}, false
}

// SetAttribute sets a metadata value, replacing the one with the same key.
// Use it rather than writing to Attributes: it copies first what another
// branch of a broadcast still reads.
func (e *Event) SetAttribute(key string, value Value) {
	e.own()
	for i := range e.Attributes {
		if e.Attributes[i].Key == key {
			e.Attributes[i].Value = value
			return
		}
	}
	e.Attributes = append(e.Attributes, Attribute{key, value})
}

// own sees to it that nobody else has the attributes.
func (e *Event) own() {
	if e.shared {
		e.Attributes = append(make([]Attribute, 0, len(e.Attributes)+1), e.Attributes...)
		e.shared = false
	}
}

// RemoveAttribute removes a metadata value, if it is there.
func (e *Event) RemoveAttribute(key string) {
	for i := range e.Attributes {
		if e.Attributes[i].Key != key {
			continue
		}
		rest := make([]Attribute, 0, len(e.Attributes)-1)
		rest = append(rest, e.Attributes[:i]...)
		e.Attributes = append(rest, e.Attributes[i+1:]...)
		e.shared = false
		return
	}
}

// Share returns a copy of the event that may be changed without the original
// seeing it. Strings and Raw are shared, since nobody writes to them.
func (e *Event) Share() Event {
	e.shared = true
	return *e
}

// Size is about how many bytes of content the event carries. Batches and
// buffers are bounded by it.
func (e *Event) Size() int {
	n := 64 + len(e.Source) + len(e.Host) + len(e.Message) + len(e.CorrelationID) + len(e.TraceID) +
		len(e.SpanID) + len(e.Organisation) + len(e.StackTrace) + len(e.Key) + len(e.Raw)
	for i := range e.Attributes {
		n += len(e.Attributes[i].Key) + len(e.Attributes[i].Value.str) + 8
	}
	return n
}
