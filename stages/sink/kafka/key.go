package kafka

import (
	"encoding/hex"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// keyFunc appends an event's record key; nothing: it has none.
type keyFunc func(buf []byte, e *event.Event) []byte

// keyOf finds what makes the key; nil: records have none.
func keyOf(name string) keyFunc {
	switch name {
	case "none":
		return nil
	case "id":
		return func(buf []byte, e *event.Event) []byte { return appendUUID(buf, e.ID) }
	case "level":
		return func(buf []byte, e *event.Event) []byte { return append(buf, e.Level.String()...) }
	}
	if text := textOf(name); text != nil {
		return func(buf []byte, e *event.Event) []byte { return append(buf, *text(e)...) }
	}
	return func(buf []byte, e *event.Event) []byte {
		v, ok := e.Attribute(name)
		if !ok {
			return buf
		}
		return v.AppendText(buf)
	}
}

// textOf finds the event's field of a name; nil: there is none.
func textOf(name string) func(*event.Event) *string {
	switch name {
	case "correlation_id":
		return func(e *event.Event) *string { return &e.CorrelationID }
	case "source":
		return func(e *event.Event) *string { return &e.Source }
	case "host":
		return func(e *event.Event) *string { return &e.Host }
	case "organisation":
		return func(e *event.Event) *string { return &e.Organisation }
	case "trace_id":
		return func(e *event.Event) *string { return &e.TraceID }
	case "span_id":
		return func(e *event.Event) *string { return &e.SpanID }
	default:
		return nil
	}
}

func appendUUID(buf []byte, id uuid.UUID) []byte {
	var t [36]byte
	hex.Encode(t[0:8], id[0:4])
	hex.Encode(t[9:13], id[4:6])
	hex.Encode(t[14:18], id[6:8])
	hex.Encode(t[19:23], id[8:10])
	hex.Encode(t[24:36], id[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return append(buf, t[:]...)
}
