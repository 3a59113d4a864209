// Package evidence reads what a pipeline left behind (the records of a topic,
// the rows of a table) with clients and decoders that share nothing with the
// engine and its stages, and compares them. For tests.
package evidence

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Event is an event as a record or as a row, in a form that is the same for
// both.
type Event struct {
	ID         uuid.UUID
	Time       time.Time // UTC, microseconds
	Text       Text
	Attributes []Attribute // sorted by key

	Where string // it was found
}

// Text is the fields that are text; what is not set is empty.
type Text struct {
	Level, Source, Host, Message, Organisation, CorrelationID, TraceID, SpanID, StackTrace string
}

// Attribute is one entry of the metadata.
type Attribute struct {
	Key, Value, Type string // type: string, int, float or bool
}

func (e *Event) normalise() {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	slices.SortFunc(e.Attributes, func(a, b Attribute) int { return strings.Compare(a.Key, b.Key) })
}

// Sum is a checksum of everything the event says; two events with the same one
// are the same event, unchanged.
func (e *Event) Sum() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%v %d %q %q", e.ID, e.Time.UnixMicro(), e.Text, e.Attributes))
}

func (e *Event) same(o *Event) bool {
	return e.ID == o.ID && e.Time.Equal(o.Time) && e.Text == o.Text && slices.Equal(e.Attributes, o.Attributes)
}

// Compare says how the rows of a table differ from the records of a topic. nil:
// every event of the topic is one row with the same content, and no row is
// anything else. A topic may have an event twice (a write whose answer was
// lost), a table may not.
func Compare(topic, table []Event) error {
	var wrong []string
	byID := make(map[uuid.UUID]*Event, len(table))
	for i := range table {
		e := &table[i]
		if byID[e.ID] != nil {
			wrong = append(wrong, fmt.Sprintf("two rows of event %v", e.ID))
		}
		byID[e.ID] = e
	}
	ids := make(map[uuid.UUID]bool, len(topic))
	for i := range topic {
		e := &topic[i]
		ids[e.ID] = true
		switch row := byID[e.ID]; {
		case row == nil:
			wrong = append(wrong, fmt.Sprintf("no row of event %v (%s)", e.ID, e.Where))
		case !row.same(e):
			wrong = append(wrong, fmt.Sprintf("the row of event %v is %+v, the record is %+v", e.ID, *row, *e))
		}
	}
	for id := range byID {
		if !ids[id] {
			wrong = append(wrong, fmt.Sprintf("event %v is a row and not in the topic", id))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%d records with %d ids, %d rows; %d things are wrong, such as\n  %s",
		len(topic), len(ids), len(table), len(wrong), strings.Join(wrong[:min(5, len(wrong))], "\n  "))
}

// Distinct counts the ids.
func Distinct(events []Event) int {
	ids := make(map[uuid.UUID]bool, len(events))
	for i := range events {
		ids[events[i].ID] = true
	}
	return len(ids)
}
