package poison

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
)

// Restorer makes events of entries again. For one goroutine.
type Restorer struct {
	kafka   *Kafka // nil: no registry
	codec   string
	schemas map[int]*avro.Codec
}

// The codecs of original bytes without the registry's frame.
const (
	CodecAuto = "auto" // by where they came from
	CodecJSON = "json"
	CodecRaw  = "raw" // they are the message
)

// NewRestorer makes one; codec is one of the three.
func NewRestorer(s Services, codec string) *Restorer {
	return &Restorer{kafka: s.Kafka, codec: codec, schemas: make(map[int]*avro.Codec)}
}

// Restore makes the event, with everything that is known of it, also of an
// entry that cannot be read: then bad says why, as it did when the event was
// read first. err is not about the entry: the registry is away.
func (r *Restorer) Restore(ctx context.Context, entry *Entry, e *event.Event) (bad, err error) {
	*e = event.Event{}
	bad, err = r.decode(ctx, entry, e)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		*e = event.Event{}
	}
	if len(entry.Given) > 0 { // it wins over what the bytes say
		if damaged := eventjson.Merge(string(entry.Given), e); damaged != nil {
			*e = event.Event{}
			bad = fmt.Errorf("what was stored beside the event's bytes is damaged: %w", damaged)
		}
	}
	e.ID, _ = uuid.Parse(entry.EventID) // the store has checked it
	e.Offset, e.Key = entry.Origin.Offset, string(entry.Key)
	if !entry.Origin.Time.IsZero() {
		e.Due = entry.Origin.Time.UnixNano()
	}
	if e.Time.IsZero() {
		e.Time = entry.Origin.Time
	}
	if e.TraceID == "" {
		e.TraceID, e.SpanID = entry.TraceID, entry.SpanID
	}
	if entry.Form != FormEvent {
		e.Raw = entry.Payload
	}
	return bad, nil
}

var errNull = errors.New("null value")

func (r *Restorer) decode(ctx context.Context, entry *Entry, e *event.Event) (bad, err error) {
	switch {
	case entry.Form == FormNull:
		return errNull, nil
	case entry.Form == FormEvent:
		return eventjson.Decode(entry.Payload, e), nil
	}
	if id, body, ok := avro.Unframe(entry.Payload); ok && entry.Origin.Kind == "kafka" {
		return r.avro(ctx, id, body, e)
	}
	return r.text(entry, e), nil
}

// text reads original bytes without the registry's frame.
func (r *Restorer) text(entry *Entry, e *event.Event) (bad error) {
	if r.isJSON(entry) {
		return eventjson.Decode(entry.Payload, e)
	}
	e.Message = strings.TrimRight(string(entry.Payload), "\r\n")
	return nil
}

// isJSON says how original bytes are read. Kafka and HTTP bring events as
// JSON, unless the whole of one was its message; others bring text.
func (r *Restorer) isJSON(entry *Entry) bool {
	if r.codec != CodecAuto {
		return r.codec == CodecJSON
	}
	return entry.Form != FormText && (entry.Origin.Kind == "kafka" || entry.Origin.Kind == "http")
}

func (r *Restorer) avro(ctx context.Context, id int, body []byte, e *event.Event) (bad, err error) {
	codec := r.schemas[id]
	if codec == nil {
		if r.kafka == nil {
			return fmt.Errorf("schema id %d cannot be looked up without a resource of kind kafka", id), nil
		}
		schema, err := r.kafka.Schema(ctx, id)
		if stage.ClassOf(err) == stage.BadEvent {
			return err, nil
		}
		if err != nil {
			return nil, err
		}
		if codec, err = avro.NewReader(schema); err != nil {
			return fmt.Errorf("schema id %d: %w", id, err), nil
		}
		r.schemas[id] = codec
	}
	if err := codec.Decode(body, e); err != nil {
		return fmt.Errorf("schema id %d: %w", id, err), nil
	}
	return nil, nil
}
