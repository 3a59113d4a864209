package poison

import (
	"encoding/json"
	"strconv"

	"millrace/engine/event"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
)

// What a source gives an event beside its bytes (the organisation it took from
// a header, the file a line stands in) cannot be read out of them again, and
// what a client says in its bytes must not take its place. It is therefore
// stored with them, as changes to what the bytes alone say: the event's JSON,
// with the fields that are other, and null for those that the bytes have and
// the event has not. Most Kafka records have none.

// Bounds of what is stored: a text that is longer than maxText is taken for
// empty, and attributes for which maxAttributes bytes are not enough for
// missing. They are lost then; what the bytes say does not take their place.
const (
	maxText       = 4 << 10
	maxAttributes = 24 << 10
)

// Given is what is to be stored in Entry.Given: how an event, as its source
// handed it over, differs from what the entry's bytes say. The rest of the
// entry is filled in already. Of one that its source could not read only what
// it has counts, not what it lacks. nil: there is no difference, or there are
// no bytes.
func Given(entry *Entry, e *event.Event, wasRead bool) json.RawMessage {
	if entry.Form != FormOriginal && entry.Form != FormText {
		return nil
	}
	var read event.Event // by the bytes alone
	if _, _, framed := avro.Unframe(entry.Payload); framed && entry.Origin.Kind == "kafka" {
		read.Message, read.StackTrace = e.Message, e.StackTrace // long, and in the bytes; the registry is not asked here
	} else if bad := (&Restorer{codec: CodecAuto}).text(entry, &read); bad != nil {
		read = event.Event{}
	}
	var c changes
	c.fields(entry, &read, e)
	c.attributes(read.Attributes, e.Attributes)
	if !wasRead {
		c.none, c.gone = nil, nil
	}
	return c.json()
}

// changes are what is different.
type changes struct {
	to   event.Event
	none []string // names of fields that are empty now
	gone []string // keys of attributes that are not there
}

func (c *changes) fields(entry *Entry, read, e *event.Event) {
	if e.Level != read.Level {
		if c.to.Level = e.Level; e.Level == event.LevelUnset {
			c.none = append(c.none, "level")
		}
	}
	// Restore has the time and the trace of the entry at hand.
	if !e.Time.Equal(read.Time) && !e.Time.IsZero() && !(read.Time.IsZero() && e.Time.Equal(entry.Origin.Time)) {
		c.to.Time = e.Time
	}
	if e.TraceID != read.TraceID || e.SpanID != read.SpanID {
		if read.TraceID != "" || e.TraceID != entry.TraceID || e.SpanID != entry.SpanID {
			c.text("trace_id", read.TraceID, e.TraceID, &c.to.TraceID)
			c.text("span_id", read.SpanID, e.SpanID, &c.to.SpanID)
		}
	}
	c.text("source", read.Source, e.Source, &c.to.Source)
	c.text("host", read.Host, e.Host, &c.to.Host)
	c.text("correlation_id", read.CorrelationID, e.CorrelationID, &c.to.CorrelationID)
	c.text("organisation", read.Organisation, e.Organisation, &c.to.Organisation)
	long(read.Message, e.Message, &c.to.Message)
	long(read.StackTrace, e.StackTrace, &c.to.StackTrace)
}

func (c *changes) text(name, from, is string, to *string) {
	if len(is) > maxText {
		is = ""
	}
	switch {
	case is == from:
	case is == "":
		c.none = append(c.none, name)
	default:
		*to = is
	}
}

// long is for content, which is as the bytes say rather than lost.
func long(from, is string, to *string) {
	if is != from && len(is) <= maxText {
		*to = is
	}
}

// attributes leaves out the count of replays, which is the entry's.
func (c *changes) attributes(read, are []event.Attribute) {
	before := make(map[string]event.Value, len(read))
	for _, a := range read {
		before[a.Key] = a.Value
	}
	room := maxAttributes
	for _, a := range are {
		if a.Key == Replays {
			continue
		}
		if was, there := before[a.Key]; there && was == a.Value {
			delete(before, a.Key)
			continue
		}
		size := len(a.Key) + 8
		if a.Value.Kind() == event.KindString {
			size += len(a.Value.Str())
		}
		if size > room {
			continue
		}
		room -= size
		c.to.Attributes = append(c.to.Attributes, a)
		delete(before, a.Key)
	}
	for _, a := range read {
		if _, left := before[a.Key]; left && a.Key != Replays {
			c.gone = append(c.gone, a.Key)
		}
	}
}

func (c *changes) json() json.RawMessage {
	out := eventjson.Append(nil, &c.to)
	out = out[:len(out)-1]
	for _, name := range c.none {
		out = append(strconv.AppendQuote(comma(out), name), ":null"...)
	}
	for i, key := range c.gone {
		if i == 0 {
			out = append(comma(out), `"metadata":{`...) // a second one, of which eventjson makes one
		}
		out = append(eventjson.AppendText(comma(out), key), ":null"...)
	}
	if len(c.gone) > 0 {
		out = append(out, '}')
	}
	if len(out) == 1 {
		return nil
	}
	return append(out, '}')
}

func comma(out []byte) []byte {
	if out[len(out)-1] == '{' {
		return out
	}
	return append(out, ',')
}

// given is what a store has as Entry.Given. What is no JSON is kept as a text,
// of which Restore says that it is damaged.
func given(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string
	}
	return quoted
}
