package stagetest

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// Events makes one event for each message, with an id that follows from it.
func Events(messages ...string) []event.Event {
	events := make([]event.Event, len(messages))
	for i, m := range messages {
		events[i] = event.Event{
			ID:      uuid.NewSHA1(uuid.NameSpaceOID, []byte(m)),
			Time:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(i) * time.Millisecond),
			Level:   event.LevelInfo,
			Source:  "orders",
			Message: m,
		}
	}
	return events
}

// logEvent is the i-th event that the kit sends through a stage: one with
// everything in it.
func logEvent(i int) event.Event {
	e := Events(fmt.Sprintf("order %d was paid", i))[0]
	e.Offset = int64(i)
	e.Level = event.Level(1 + i%6)
	e.Host = fmt.Sprintf("host-%d", i%3)
	e.CorrelationID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(e.Message)).String()
	e.TraceID = strings.Repeat("4bf92f35", 4)
	e.SpanID = "00f067aa0ba902b7"
	e.Organisation = "acme"
	e.Key = e.CorrelationID
	e.Raw = []byte(`{"message":"` + e.Message + `"}`)
	e.Attributes = []event.Attribute{
		{Key: "customer", Value: event.String(fmt.Sprintf("c-%d", i))},
		{Key: "items", Value: event.Int(int64(i))},
		{Key: "total", Value: event.Float(float64(i) * 1.5)},
		{Key: "express", Value: event.Bool(i%2 == 0)},
	}
	return e
}

// memory holds events the way a source does: their strings lie in one piece
// of memory that is used again after they are settled.
type memory struct {
	events []event.Event
	arena  []byte
}

func newMemory(n int, make1 func(i int) event.Event) *memory {
	m := &memory{events: make([]event.Event, n)}
	size := 0
	for i := range m.events {
		m.events[i] = make1(i)
		size += m.events[i].Size()
	}
	m.arena = make([]byte, 0, size)
	for i := range m.events {
		m.move(&m.events[i])
	}
	return m
}

// move lets all strings of an event point into the arena.
func (m *memory) move(e *event.Event) {
	for _, s := range texts(e) {
		*s = m.put(*s)
	}
	if e.Raw != nil {
		raw := m.put(string(e.Raw))
		e.Raw = unsafe.Slice(unsafe.StringData(raw), len(raw))
	}
	attributes := make([]event.Attribute, len(e.Attributes))
	for i, a := range e.Attributes {
		if a.Value.Kind() == event.KindString {
			a.Value = event.String(m.put(a.Value.Str()))
		}
		attributes[i] = event.Attribute{Key: m.put(a.Key), Value: a.Value}
	}
	e.Attributes = attributes
}

func (m *memory) put(s string) string {
	if s == "" {
		return ""
	}
	if len(m.arena)+len(s) > cap(m.arena) {
		panic("stagetest: the arena is too small for its events")
	}
	at := len(m.arena)
	m.arena = append(m.arena, s...)
	return unsafe.String(&m.arena[at], len(s))
}

// overwrite is what a source does with memory it got back. Whoever still reads
// it reads nonsense, and is caught by the race detector.
func (m *memory) overwrite() {
	for i := range m.arena {
		m.arena[i] = '#'
	}
	for i := range m.events {
		overwriteEvent(&m.events[i])
	}
}

// gone is the text of an event whose memory was given back.
const gone = "this event was settled and its memory is used again"

func overwriteEvent(e *event.Event) {
	for i := range e.Attributes {
		e.Attributes[i] = event.Attribute{Key: gone, Value: event.String(gone)}
	}
	*e = event.Event{Message: gone, Source: gone, Host: gone, CorrelationID: gone}
}

// texts are the string fields of an event.
func texts(e *event.Event) []*string {
	return []*string{&e.Source, &e.Host, &e.Message, &e.CorrelationID, &e.TraceID, &e.SpanID, &e.Organisation, &e.StackTrace, &e.Key}
}

// copyEvent is the event in memory of its own.
func copyEvent(e *event.Event) event.Event {
	c := *e
	for _, s := range texts(&c) {
		*s = strings.Clone(*s)
	}
	c.Raw = append([]byte(nil), e.Raw...)
	c.Attributes = nil
	for _, a := range e.Attributes {
		if a.Value.Kind() == event.KindString {
			a.Value = event.String(strings.Clone(a.Value.Str()))
		}
		c.Attributes = append(c.Attributes, event.Attribute{Key: strings.Clone(a.Key), Value: a.Value})
	}
	return c
}

// fingerprint is everything a stage can see of an event, to find out whether
// it was changed.
func fingerprint(e *event.Event) string {
	var b strings.Builder
	fmt.Fprint(&b, e.ID, e.Time.UnixNano(), e.Due, e.Offset, e.Level)
	for _, s := range texts(e) {
		fmt.Fprintf(&b, " %q", *s)
	}
	fmt.Fprintf(&b, " raw %q", e.Raw)
	for _, a := range e.Attributes {
		fmt.Fprintf(&b, " %q=%d:%q", a.Key, a.Value.Kind(), a.Value.String())
	}
	return b.String()
}
