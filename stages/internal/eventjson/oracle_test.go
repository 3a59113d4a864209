package eventjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// compare decodes with us and with encoding/json. What we accept must be JSON
// and mean the same; what is JSON with the right types must be accepted.
func compare(t interface{ Fatalf(string, ...any) }, data []byte) {
	var got event.Event
	err := eventjson.Decode(data, &got)
	want, wantErr := oracle(data)
	if err != nil {
		if wantErr == nil {
			t.Fatalf("%q refused: %v", data, err)
		}
		return
	}
	if wantErr != nil {
		t.Fatalf("%q accepted as %+v, but: %v", data, got, wantErr)
	}
	if text(got) != text(want) {
		t.Fatalf("%q\ngot  %s\nwant %s", data, text(got), text(want))
	}
}

func text(e event.Event) string {
	attributes := make(map[string]any)
	for _, a := range e.Attributes {
		attributes[a.Key] = a.Value.Any()
	}
	e.Attributes = nil
	return fmt.Sprintf("%+v %#v", e, attributes)
}

// oracle reads an event with encoding/json's tokens, in order.
func oracle(data []byte) (e event.Event, err error) {
	if !json.Valid(data) {
		return e, fmt.Errorf("no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	err = eachField(d, func(name string, value json.RawMessage) error { return oracleField(&e, name, value) })
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("something follows")
		}
	}
	return e, err
}

func eachField(d *json.Decoder, f func(string, json.RawMessage) error) error {
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("no object: %v, %v", open, err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if depthOf(value) > 63 {
			return fmt.Errorf("too deep")
		}
		if err := f(name.(string), value); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func depthOf(value json.RawMessage) int {
	d := json.NewDecoder(bytes.NewReader(value))
	deepest, depth := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		deepest = max(deepest, depth)
	}
}

func oracleField(e *event.Event, name string, value json.RawMessage) error {
	texts := map[string]*string{
		"source": &e.Source, "host": &e.Host, "hostname": &e.Host, "message": &e.Message, "correlation_id": &e.CorrelationID, "correlationId": &e.CorrelationID,
		"trace_id": &e.TraceID, "traceId": &e.TraceID, "span_id": &e.SpanID, "spanId": &e.SpanID, "organisation": &e.Organisation, "organization": &e.Organisation,
		"organisationId": &e.Organisation, "organizationId": &e.Organisation, "organisation_id": &e.Organisation, "organization_id": &e.Organisation,
		"stack_trace": &e.StackTrace, "stackTrace": &e.StackTrace,
	}
	var s string
	switch name {
	case "id", "eventId", "event_id":
		if err := json.Unmarshal(value, &s); err != nil {
			return err
		}
		id, err := uuid.Parse(s)
		if err != nil && s != "" || len(s) != 36 && s != "" {
			id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(s))
			e.SetAttribute("original_id", event.String(s))
		}
		e.ID = id
	case "level":
		if err := json.Unmarshal(value, &s); err != nil {
			return err
		}
		e.Level = event.LevelUnset
		if s == "" {
			return nil
		}
		level, err := event.ParseLevel(s)
		e.Level = level
		return err
	case "timestamp", "time":
		t, err := oracleTime(value)
		e.Time = t
		return err
	case "metadata", "attributes":
		if string(value) == "null" {
			return nil
		}
		return eachField(json.NewDecoder(bytes.NewReader(value)), func(key string, v json.RawMessage) error {
			if depthOf(v) > 62 {
				return fmt.Errorf("too deep")
			}
			return oracleAttribute(e, key, v)
		})
	default:
		if to, ok := texts[name]; ok {
			*to = ""
			return json.Unmarshal(value, to)
		}
		return oracleAttribute(e, name, value)
	}
	return nil
}

// twoDigits is where time.Parse is laxer than RFC 3339.
var twoDigits = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^,]*$`)

func oracleTime(value json.RawMessage) (time.Time, error) {
	var number json.Number
	var s string
	if value[0] != '"' && json.Unmarshal(value, &number) == nil {
		if number == "" {
			return time.Time{}, nil // null
		}
		ms, err := strconv.ParseInt(string(number), 10, 64)
		if t := time.UnixMilli(ms).UTC(); err == nil && t.Year() >= 1 && t.Year() <= 9999 {
			return t, nil
		}
		return time.Time{}, fmt.Errorf("no millis: %v", number)
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return time.Time{}, err
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil && twoDigits.MatchString(s) {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("no time: %q", s)
}

func oracleAttribute(e *event.Event, key string, value json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		e.RemoveAttribute(key)
		return nil
	case string:
		e.SetAttribute(key, event.String(v))
	case bool:
		e.SetAttribute(key, event.Bool(v))
	case json.Number:
		if n, err := v.Int64(); err == nil {
			e.SetAttribute(key, event.Int(n))
		} else if f, err := v.Float64(); bytes.ContainsAny(value, ".eE") {
			e.SetAttribute(key, event.Float(f))
			return err
		} else {
			e.SetAttribute(key, event.String(string(v)))
		}
	default:
		e.SetAttribute(key, event.String(string(value)))
	}
	if len(e.Attributes) > 1024 {
		return fmt.Errorf("too many attributes")
	}
	return nil
}

// seeds are where the two could differ.
var seeds = []string{
	day32, `{}`, `{"a":"\ud800","b":"\ud83d\ude00","c":"\ud800\u0041","d":"\udc00\ud800"}`, "{\"message\":\"a\xff\xfe\\n\",\"\xff\":1}", `{"a":-0,"b":-0.0,"c":1E+2,"d":9223372036854775808}`,
	`{"id":"{0192f0c1-2345-7abc-8def-0123456789ab}"}`, `{"id":"","ID":"x"}`, `{"time":"2024-02-29T23:59:59.9999999999+23:59"}`, `{"time":"0000-01-01T00:00:00Z"}`, `{"time":-1}`,
	`{"time":"2026-01-01t00:00:00z"}`, `{"time":"2026-01-01T00:00:00,5Z"}`, `{"metadata":{"a":{"b":[{}]}},"metadata":null}`, ` { "a" : [ ] } `, `{"a":[1,]}`, `{"level":"","message":"\/\b\f"}`,
	`{"\u006dessage":"x"}`, `{"":""}`, `{"a":"` + "\x7f" + `"}`, `{"id":"x","original_id":null}`, `{"time":"0000-01-01 0:00:00"}`,
}

func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	for _, seed := range seeds {
		compare(t, []byte(seed))
	}
	names := rapid.OneOf(rapid.SampledFrom([]string{"id", "eventId", "timestamp", "time", "level", "source", "hostname", "message", "traceId", "metadata", "attributes", "k", "l"}), rapid.String())
	leaf := rapid.OneOf(rapid.Map(rapid.String(), anyOf[string]), rapid.Map(rapid.Int64(), anyOf[int64]), rapid.Map(rapid.Float64(), anyOf[float64]), rapid.Map(rapid.Bool(), anyOf[bool]),
		rapid.Just[any](nil), rapid.SampledFrom([]any{"warn", "2026-03-01T12:00:00Z", "2026-03-01 12:00:00.5+02:00", "0192f0c1-2345-7abc-8def-0123456789ab"}))
	values := rapid.OneOf(leaf, rapid.Map(rapid.MapOfN(names, leaf, 0, 4), anyOf[map[string]any]), rapid.Map(rapid.SliceOfN(leaf, 0, 3), anyOf[[]any]))
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(rapid.MapOfN(names, values, 0, 6).Draw(t, "event"))
		if err != nil {
			t.Fatalf("%v", err)
		}
		if at := rapid.IntRange(0, 2*len(data)).Draw(t, "damage"); at < len(data) {
			data[at] = rapid.Byte().Draw(t, "byte")
		}
		compare(t, data)
	})
}

func anyOf[T any](v T) any { return v }

func FuzzDecode(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, data) })
}

func BenchmarkAppend(b *testing.B) {
	e := full()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = eventjson.Append(buf[:0], &e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(day32)
	b.Run("fresh event", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			var e event.Event
			if err := eventjson.Decode(data, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("event used again", func(b *testing.B) {
		var e event.Event
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if err := eventjson.DecodeString(day32, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json into a struct", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			var e struct {
				EventID, Level, Source, Hostname, Message, CorrelationID string
				Timestamp                                                time.Time
				Metadata                                                 map[string]any
			}
			if err := json.Unmarshal(data, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}
