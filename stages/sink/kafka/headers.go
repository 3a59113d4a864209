package kafka

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/stages/internal/poison"
)

const (
	headerEventID     = "event_id"
	headerTraceparent = "traceparent"
)

// headers says which headers a record gets.
type headers struct{ eventID, traceparent bool }

func newHeaders(names []string) headers {
	return headers{slices.Contains(names, headerEventID), slices.Contains(names, headerTraceparent)}
}

// appendTraceparent writes the W3C form; sampled, since the producer thought
// the ids worth sending.
func appendTraceparent(buf []byte, e *event.Event) []byte {
	buf = append(append(buf, "00-"...), e.TraceID...)
	buf = append(append(buf, '-'), e.SpanID...)
	return append(buf, "-01"...)
}

func hasTrace(e *event.Event) bool { return len(e.TraceID) == 32 && len(e.SpanID) == 16 }

// add puts an event's headers on a record; their bytes are in the call's
// buffer.
func (h headers) add(c *call, r *kgo.Record, e *event.Event) {
	first := len(c.headers)
	if h.eventID {
		start := len(c.buf)
		c.buf = appendUUID(c.buf, e.ID)
		c.headers = append(c.headers, kgo.RecordHeader{Key: headerEventID, Value: c.since(start)})
	}
	if h.traceparent && hasTrace(e) {
		start := len(c.buf)
		c.buf = appendTraceparent(c.buf, e)
		c.headers = append(c.headers, kgo.RecordHeader{Key: headerTraceparent, Value: c.since(start)})
	}
	if e.Replays > 0 { // so that what goes round by this topic comes to an end
		start := len(c.buf)
		c.buf = strconv.AppendInt(c.buf, int64(e.Replays), 10)
		c.headers = append(c.headers, kgo.RecordHeader{Key: poison.ReplayHeader, Value: c.since(start)})
	}
	r.Headers = c.headers[first:len(c.headers):len(c.headers)]
}
