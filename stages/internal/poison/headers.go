package poison

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
)

// ReplayHeader is the header of a record that tells how often its event was
// replayed, in poison topics and in topics that are replayed to.
const ReplayHeader = "x-dlq-replay-count"

// Headers of the same records with the event's id, and with what its source
// gave it beside the record's value.
const (
	idHeader    = "x-dlq-event-id"
	givenHeader = "x-dlq-given"
)

// FromHeader reads a header that a replay to a topic, or a poison queue, gave
// its record. Call it with all of them once the value is read; what was given
// wins over that. An error makes the record a bad event.
func FromHeader(key string, value []byte, e *event.Event) error {
	switch key {
	case ReplayHeader:
		ReadReplays(e, string(value))
	case idHeader:
		if id, err := uuid.ParseBytes(value); err == nil && e.ID == uuid.Nil {
			e.ID = id
		}
	case givenHeader:
		merged := e.Share() // so that one that is damaged changes nothing
		if err := eventjson.Merge(string(value), &merged); err != nil {
			return fmt.Errorf("header %s: %w", key, err)
		}
		SetReplays(&merged, int(e.Replays))
		*e = merged
	}
	return nil
}

// record is the Kafka record of an entry: the original bytes as value, the
// original key, everything else in headers.
func record(e *Entry) *kgo.Record {
	out := &kgo.Record{Value: e.Payload, Headers: headers(e)}
	if len(e.Key) > 0 {
		out.Key = e.Key
	}
	if e.Form == FormNull {
		out.Value = nil
	} else if out.Value == nil {
		out.Value = []byte{}
	}
	return out
}

// headers are Watermill's four, for its tools, and ours.
func headers(e *Entry) []kgo.RecordHeader {
	var h []kgo.RecordHeader
	add := func(key, value string) {
		if value != "" {
			h = append(h, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	add("reason_poisoned", e.Reason)
	add("topic_poisoned", e.Origin.Name)
	add("handler_poisoned", e.Route)
	add("subscriber_poisoned", e.Origin.Kind)

	add(idHeader, e.EventID)
	add("x-dlq-original-kind", e.Origin.Kind)
	add("x-dlq-original-topic", e.Origin.Name)
	add("x-dlq-original-partition", strconv.Itoa(int(e.Origin.Partition)))
	add("x-dlq-original-offset", strconv.FormatInt(e.Origin.Offset, 10))
	add("x-dlq-original-timestamp", stamp(e.Origin.Time))
	add("x-dlq-payload", e.Form)
	add(givenHeader, string(e.Given))
	add("x-dlq-schema-id", schemaID(e))
	add("x-dlq-pipeline", e.Pipeline)
	add("x-dlq-route", e.Route)
	add("x-dlq-stage", e.Stage)
	add("x-dlq-instance", e.Instance)
	add("x-dlq-error-class", e.Class)
	add("x-dlq-error-type", e.ErrorType)
	add("x-dlq-error-message", e.Reason)
	add("x-dlq-attempts", strconv.Itoa(e.Attempts))
	add(ReplayHeader, strconv.Itoa(e.Replays))
	add("x-dlq-first-failed-at", stamp(e.First))
	add("x-dlq-failed-at", stamp(e.Last))
	add("x-dlq-trace-id", e.TraceID)
	add("x-dlq-span-id", e.SpanID)
	if len(e.TraceID) == 32 && len(e.SpanID) == 16 {
		add("traceparent", "00-"+e.TraceID+"-"+e.SpanID+"-01")
	}
	return h
}

// schemaID is the id in the registry's frame, for what came from Kafka with
// one.
func schemaID(e *Entry) string {
	if e.Origin.Kind != "kafka" || e.Form != FormOriginal {
		return ""
	}
	id, _, ok := avro.Unframe(e.Payload)
	if !ok {
		return ""
	}
	return strconv.Itoa(id)
}

// parse is the entry of a record, also of one that another program put there:
// what its headers do not tell, or tell wrongly, is left empty, and an event
// id is made of its place.
func parse(rec *kgo.Record) Entry {
	h := make(map[string]string, len(rec.Headers))
	for _, header := range rec.Headers {
		h[header.Key] = string(header.Value)
	}
	first := func(names ...string) string {
		for _, n := range names {
			if h[n] != "" {
				return h[n]
			}
		}
		return ""
	}
	e := Entry{
		ID:       place{rec.Partition, rec.Offset}.String(),
		Pipeline: h["x-dlq-pipeline"], Route: first("x-dlq-route", "handler_poisoned"), Stage: h["x-dlq-stage"], Instance: h["x-dlq-instance"],
		Class: first("x-dlq-error-class"), Reason: first("x-dlq-error-message", "reason_poisoned", "__connect.errors.exception.message", "kafka_dlt-exception-message"),
		ErrorType: h["x-dlq-error-type"], Attempts: count(h["x-dlq-attempts"]), Replays: count(h[ReplayHeader]),
		First: unstamp(h["x-dlq-first-failed-at"]), Last: unstamp(h["x-dlq-failed-at"]),
		TraceID: h["x-dlq-trace-id"], SpanID: h["x-dlq-span-id"],
		Key: rec.Key, Payload: rec.Value, Form: form(h["x-dlq-payload"], rec.Value), Given: given(h[givenHeader]),
	}
	e.Origin.Kind = first("x-dlq-original-kind", "subscriber_poisoned")
	e.Origin.Name = first("x-dlq-original-topic", "topic_poisoned", "__connect.errors.topic", "kafka_dlt-original-topic")
	e.Origin.Partition = int32(number(first("x-dlq-original-partition", "__connect.errors.partition"), 32))
	e.Origin.Offset = number(first("x-dlq-original-offset", "__connect.errors.offset"), 64)
	e.Origin.Time = unstamp(h["x-dlq-original-timestamp"])
	complete(&e, rec, h)
	return e
}

// complete finds the best for what the headers left open.
func complete(e *Entry, rec *kgo.Record, h map[string]string) {
	id, err := uuid.Parse(h[idHeader])
	if err != nil || id == uuid.Nil {
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(rec.Topic+"/"+e.ID))
	}
	e.EventID = id.String()
	if e.Class == "" {
		e.Class = "unknown"
	}
	if e.Origin.Kind == "" {
		e.Origin.Kind = "kafka" // it is a record
	}
	if e.Last.IsZero() {
		e.Last = rec.Timestamp
	}
	if e.First.IsZero() {
		e.First = e.Last
	}
	if parts := strings.Split(h["traceparent"], "-"); e.TraceID == "" && len(parts) == 4 && len(parts[1]) == 32 && len(parts[2]) == 16 {
		e.TraceID, e.SpanID = parts[1], parts[2]
	}
}

// form is the form of a payload. A record without a value has none, whatever
// is said of it.
func form(said string, value []byte) string {
	switch {
	case value == nil:
		return FormNull
	case said == FormEvent, said == FormText:
		return said
	default:
		return FormOriginal
	}
}

// count is a number that is not below 0.
func count(s string) int { return int(max(0, number(s, 31))) }

func number(s string, bits int) int64 {
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		return 0
	}
	return n
}

// place is where a record of the poison topic is; its text is the ID of the
// entry.
type place struct {
	partition int32
	offset    int64
}

func (p place) String() string {
	return strconv.Itoa(int(p.partition)) + "-" + strconv.FormatInt(p.offset, 10)
}

// before orders places, of which those of different partitions have no order.
func (p place) before(other place) bool {
	return cmp.Or(cmp.Compare(p.partition, other.partition), cmp.Compare(p.offset, other.offset)) < 0
}

func parsePlace(s string) (p place, ok bool) {
	partition, offset, _ := strings.Cut(s, "-")
	n, err := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	return place{int32(n), o}, err == nil && err2 == nil && n >= 0 && o >= 0
}

// Retention of a poison topic that is made here.
const retention = 30 * 24 * time.Hour
