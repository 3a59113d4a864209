package kafka

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
	"millrace/stages/internal/poison"
	"millrace/stages/resource/kafka"
)

// decoder makes events of records. Strings of an event point into its record,
// which nobody writes to. For the goroutine that reads.
type decoder struct {
	topic    string
	raw      bool // values without a frame are messages, not JSON
	headers  headers
	registry *kafka.Registry
	clock    stage.Clock
	nag      *nag

	schemas map[int]*schema
	last    *schema // records of one topic mostly have the same
}

// schema is what the registry said of an id.
type schema struct {
	id    int
	codec *avro.Codec
	err   error // why records with this id are bad
}

const (
	registryWait = 100 * time.Millisecond // doubled up to:
	registryMax  = 5 * time.Second
)

var errNull = errors.New("null value")

// parcel decodes the records of a parcel. A record that makes no sense becomes
// a refused event with its original bytes. An error is not about a record: the
// context has ended, or the registry turns us away.
func (d *decoder) parcel(ctx context.Context, pc *parcel) error {
	for _, rec := range pc.records {
		if rec.Attrs.IsControl() {
			continue
		}
		e := pc.add()
		bad, err := d.event(ctx, rec, e)
		if err != nil {
			return err
		}
		if bad == nil {
			bad = beside(rec, e)
		}
		if bad != nil {
			*e = event.Event{Attributes: e.Attributes[:0]}
			_ = beside(rec, e) // what can be read there is known all the same
			pc.refused = append(pc.refused, event.Refusal{Index: len(pc.events) - 1, Err: stage.Bad(
				fmt.Errorf("topic %s, partition %d, offset %d: %w", rec.Topic, rec.Partition, rec.Offset, bad))})
		}
		d.headers.add(rec, e)
		pc.part.ids.complete(rec, e)
	}
	return nil
}

// add is a place for the next event, with memory for attributes where it was
// used before.
func (pc *parcel) add() *event.Event {
	n := len(pc.events)
	if n < cap(pc.events) {
		pc.events = pc.events[:n+1]
	} else {
		pc.events = append(pc.events, event.Event{})
	}
	return &pc.events[n]
}

// event decodes one record. bad: why it is no event.
func (d *decoder) event(ctx context.Context, rec *kgo.Record, e *event.Event) (bad, err error) {
	if rec.Value == nil {
		return errNull, nil
	}
	id, body, framed := avro.Unframe(rec.Value)
	switch {
	case framed:
		s, err := d.schema(ctx, id)
		if err != nil {
			return nil, err
		}
		if s.err != nil {
			return s.err, nil
		}
		if err := s.codec.DecodeShared(body, e); err != nil {
			return fmt.Errorf("schema id %d: %w", id, err), nil
		}
		return nil, nil
	case d.raw:
		e.Message = text(rec.Value)
		return nil, nil
	default:
		return eventjson.DecodeString(text(rec.Value), e), nil
	}
}

// schema finds what an id means. While the registry is away it waits.
func (d *decoder) schema(ctx context.Context, id int) (*schema, error) {
	if d.last != nil && d.last.id == id {
		return d.last, nil
	}
	s := d.schemas[id]
	if s == nil {
		source, err := d.lookUp(ctx, id)
		switch {
		case errors.Is(err, kafka.ErrUnknownSchema), stage.ClassOf(err) == stage.BadEvent:
			return &schema{id: id, err: err}, nil // not kept: it may be registered later
		case err != nil:
			return nil, err
		}
		s = compile(id, source)
		d.schemas[id] = s
	}
	d.last = s
	return s, nil
}

func compile(id int, source string) *schema {
	codec, err := avro.NewReader(source)
	if err != nil {
		err = fmt.Errorf("schema id %d: %w", id, err)
	}
	return &schema{id: id, codec: codec, err: err}
}

// lookUp asks the registry until it answers.
func (d *decoder) lookUp(ctx context.Context, id int) (string, error) {
	for wait := registryWait; ; wait = min(2*wait, registryMax) {
		source, err := d.registry.Schema(ctx, id)
		switch {
		case err == nil, errors.Is(err, kafka.ErrUnknownSchema), stage.ClassOf(err) == stage.BadEvent:
			return source, err
		case ctx.Err() != nil:
			return "", ctx.Err()
		case stage.ClassOf(err) == stage.Unfixable:
			return "", fmt.Errorf("reading topic %q: schema id %d: %w", d.topic, id, err)
		}
		d.nag.warn("waiting for the schema registry", "schema_id", id, "error", err)
		if err := d.clock.Sleep(ctx, wait); err != nil {
			return "", err
		}
	}
}

// identity makes ids for records that have none: the same at every reading.
type identity [8]byte

// identify is the identity of one partition, by the topic's id, which a topic
// made anew under the same name does not have; by its name where brokers have
// no topic ids.
func identify(id kadm.TopicID, topic string, partition int32) (ids identity) {
	seed := id[:]
	if id == (kadm.TopicID{}) {
		seed = []byte(topic)
	}
	sum := sha1.Sum(binary.BigEndian.AppendUint32(seed[:len(seed):len(seed)], uint32(partition)))
	copy(ids[:], sum[:])
	ids[6] = ids[6]&0x0f | 0x80 // version 8: our own making
	return ids
}

// id is the id of the record at an offset: the partition's half, then the
// offset, so that ids rise with it.
func (ids identity) id(offset int64) (id uuid.UUID) {
	copy(id[:8], ids[:])
	binary.BigEndian.PutUint64(id[8:], uint64(offset)&(1<<62-1)|1<<63)
	return id
}

// complete sets what a record says about its event beside the value, and what
// the value left open.
func (ids identity) complete(rec *kgo.Record, e *event.Event) {
	if e.ID == uuid.Nil {
		e.ID = ids.id(rec.Offset)
	}
	if e.Time.IsZero() {
		e.Time = rec.Timestamp
	}
	e.Due = rec.Timestamp.UnixNano()
	e.Offset = rec.Offset
	e.Key = text(rec.Key)
	e.Raw = rec.Value
}

// beside reads what an event that was replayed into this topic must not lose:
// its id, its count, and what its first source gave it. damaged: why that
// cannot be read.
func beside(rec *kgo.Record, e *event.Event) (damaged error) {
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if err := poison.FromHeader(h.Key, h.Value, e); err != nil {
			damaged = err
		}
	}
	return damaged
}

// text is the bytes as a string, without a copy.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
