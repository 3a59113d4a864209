package avro

import (
	"maps"
	"reflect"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
	"pgregory.net/rapid"

	"millrace/engine/event"
)

// record is the shipped schema for hamba, an implementation that shares no
// line with ours.
type record struct {
	ID            [16]byte       `avro:"id"`
	Timestamp     int64          `avro:"timestamp"`
	Level         string         `avro:"level"`
	Source        string         `avro:"source"`
	Host          string         `avro:"host"`
	Message       string         `avro:"message"`
	Organisation  *string        `avro:"organisation"`
	CorrelationID *string        `avro:"correlation_id"`
	TraceID       *string        `avro:"trace_id"`
	SpanID        *string        `avro:"span_id"`
	StackTrace    *string        `avro:"stack_trace"`
	Metadata      map[string]any `avro:"metadata"`
}

func recordOf(e event.Event) record {
	r := record{
		ID: e.ID, Timestamp: e.Time.UnixMicro(), Level: e.Level.String(), Source: e.Source, Host: e.Host, Message: e.Message,
		Organisation: orNil(e.Organisation), CorrelationID: orNil(e.CorrelationID), TraceID: orNil(e.TraceID),
		SpanID: orNil(e.SpanID), StackTrace: orNil(e.StackTrace), Metadata: map[string]any{},
	}
	if e.Level == event.LevelUnset {
		r.Level = "UNSET"
	}
	for _, a := range e.Attributes {
		r.Metadata[a.Key] = a.Value.Any()
	}
	return r
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// plain is the shipped schema with the long as a long, since hamba would make
// a time.Time of it, and the id without its logical type.
func plain(t testing.TB) hamba.Schema {
	t.Helper()
	s, err := hamba.Parse(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnotherImplementationReadsWhatWeWrite(t *testing.T) {
	codec, oracle := mustNew(t, shipped(t)), plain(t)
	rapid.Check(t, func(t *rapid.T) {
		e := events().Draw(t, "event")
		body, err := codec.Append(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := hamba.Unmarshal(oracle, body, &got); err != nil {
			t.Fatalf("hamba: %v", err)
		}
		want := recordOf(e)
		equal(t, "id", got["id"], want.ID)
		equal(t, "timestamp", got["timestamp"].(time.Time).UnixMicro(), want.Timestamp)
		equal(t, "level", got["level"], want.Level)
		equal(t, "source", got["source"], want.Source)
		equal(t, "host", got["host"], want.Host)
		equal(t, "message", got["message"], want.Message)
		for name, text := range map[string]*string{"organisation": want.Organisation, "correlation_id": want.CorrelationID,
			"trace_id": want.TraceID, "span_id": want.SpanID, "stack_trace": want.StackTrace} {
			if text == nil {
				equal(t, name, got[name], nil)
			} else {
				equal(t, name, got[name], *text)
			}
		}
		equal(t, "metadata", untagged(got["metadata"]), want.Metadata)
	})
}

func TestWeReadWhatAnotherImplementationWrites(t *testing.T) {
	codec, oracle := mustNew(t, shipped(t)), plain(t)
	rapid.Check(t, func(t *rapid.T) {
		e := events().Draw(t, "event")
		r := recordOf(e)
		fields := map[string]any{
			"id": r.ID, "timestamp": e.Time, "level": r.Level, "source": r.Source, "host": r.Host, "message": r.Message,
			"organisation": r.Organisation, "correlation_id": r.CorrelationID, "trace_id": r.TraceID, "span_id": r.SpanID,
			"stack_trace": r.StackTrace, "metadata": tagged(r.Metadata),
		}
		body, err := hamba.Marshal(oracle, fields)
		if err != nil {
			t.Fatalf("hamba: %v", err)
		}
		var got event.Event
		if err := codec.Decode(body, &got); err != nil {
			t.Fatal(err)
		}
		equal(t, "metadata", recordOf(got).Metadata, r.Metadata)
		equal(t, "number of attributes", len(got.Attributes), len(e.Attributes))
		got.Attributes, e.Attributes = nil, nil
		equal(t, "event", got, e)
	})
}

// untagged takes hamba's union wrappers {"long": 1} off.
func untagged(v any) map[string]any {
	out := map[string]any{}
	for key, value := range v.(map[string]any) {
		if m, ok := value.(map[string]any); ok {
			for inner := range maps.Values(m) {
				value = inner
			}
		}
		out[key] = value
	}
	return out
}

func tagged(m map[string]any) map[string]any {
	names := map[reflect.Kind]string{reflect.String: "string", reflect.Int64: "long", reflect.Float64: "double", reflect.Bool: "boolean"}
	out := map[string]any{}
	for key, value := range m {
		out[key] = map[string]any{names[reflect.TypeOf(value).Kind()]: value}
	}
	return out
}

func equal(t interface{ Fatalf(string, ...any) }, what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %#v, want %#v", what, got, want)
	}
}
