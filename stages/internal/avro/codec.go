// Package avro turns events into Avro and back, as fast as the bytes can be
// moved.
//
// A schema is compiled once into two plans. The encoding plan is a list of
// steps, one per field of the schema, each appending straight to the caller's
// buffer from the event; it allocates nothing. The decoding plan mirrors the
// schema as it was written and knows for each field where in the event it
// goes, or that it is skipped.
//
// Fields are matched by name, whatever the spelling (correlation_id,
// correlationId):
//
//	id, event_id                   fixed(16), string; the nil UUID is null
//	time, timestamp                long (millis, micros, nanos), string (RFC 3339)
//	level, severity                enum, string
//	source host hostname message correlation_id trace_id span_id
//	organisation organization_id stack_trace
//	                               string; "" is null where null is allowed
//	metadata, attributes           map of string, long, int, double, float,
//	                               boolean or a union of them; an integer
//	                               takes the first of long, int, double,
//	                               float and string that holds it
//
// A field with another name holds the attribute of that name, or its default
// when the event has none. Parsing, validation and compatibility of schemas
// are twmb/avro's work.
package avro

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/twmb/avro"

	"millrace/engine/event"
)

// Codec writes and reads events in one Avro schema. It may be used from many
// goroutines at once.
type Codec struct {
	steps    []step
	promoted []string // attributes that have a field of their own
	root     *node
}

// New compiles a schema: a record whose fields can be filled from an event.
// The error names the field and what it would have to be.
func New(schema string) (*Codec, error) {
	parsed, err := avro.Parse(schema)
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	root := parsed.Root().ExpandReferences()
	if root.Type != "record" {
		return nil, fmt.Errorf("avro schema: must be a record to hold an event, is %s", root.Type)
	}
	c := &Codec{}
	if c.root, err = compileReader(root); err != nil {
		return nil, fmt.Errorf("avro schema %s: %w", root.Name, err)
	}
	if err := c.compileWriter(root); err != nil {
		return nil, fmt.Errorf("avro schema %s: %w", root.Name, err)
	}
	return c, nil
}

// NewReader compiles a schema for decoding only. It accepts any record: fields
// that an event has no place for become attributes or are skipped.
func NewReader(schema string) (*Codec, error) {
	parsed, err := avro.Parse(schema)
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	root := parsed.Root().ExpandReferences()
	if root.Type != "record" {
		return nil, fmt.Errorf("avro schema: must be a record to hold an event, is %s", root.Type)
	}
	c := &Codec{}
	if c.root, err = compileReader(root); err != nil {
		return nil, fmt.Errorf("avro schema %s: %w", root.Name, err)
	}
	c.steps = []step{{op: opUnwritable}}
	return c, nil
}

// Append appends the event's Avro body to buf. An error is about the event: it
// has something the schema has no room for, or lacks what the schema demands;
// buf is then returned as it was.
func (c *Codec) Append(buf []byte, e *event.Event) ([]byte, error) {
	out, err := c.append(buf, e)
	if err != nil {
		return buf, err
	}
	return out, nil
}

// Decode reads a body that was written with the codec's schema into e: all
// content fields are set, Due, Offset, Key and Raw stay as they are. The
// strings of e share one allocation; e.Attributes is filled from its start, so
// that its capacity is used again. After an error e holds a part of the body.
func (c *Codec) Decode(body []byte, e *event.Event) error {
	return c.decode(string(body), e)
}

// DecodeShared is Decode without the copy: the strings of e point into body,
// which must not change as long as they are used.
func (c *Codec) DecodeShared(body []byte, e *event.Event) error {
	return c.decode(unsafe.String(unsafe.SliceData(body), len(body)), e)
}

var errUnwritable = errors.New("avro: this schema was compiled for reading only")
