package avro

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

func schemaOf(fields string) string {
	return `{"type":"record","name":"E","fields":[` + fields + `]}`
}

// roundTrip writes an event in a schema and reads it back.
func roundTrip(t *testing.T, schema string, e event.Event) event.Event {
	t.Helper()
	codec := mustNew(t, schema)
	body, err := codec.Append([]byte("before"), &e)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(body, []byte("before")) {
		t.Fatalf("what was in the buffer is gone: %q", body)
	}
	var got event.Event
	if err := codec.Decode(body[len("before"):], &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEveryWayToWriteAFieldIsReadBack(t *testing.T) {
	e := anEvent()
	for _, field := range []string{
		`{"name":"id","type":"string"}`,
		`{"name":"eventId","type":{"type":"string","logicalType":"uuid"}}`,
		`{"name":"event_id","type":["null","string"],"default":null}`,
		`{"name":"id","type":[{"type":"fixed","name":"F","size":16},"null"]}`,
	} {
		if got := roundTrip(t, schemaOf(field), e); got.ID != e.ID {
			t.Errorf("%s: %v", field, got.ID)
		}
	}
	for field, unit := range map[string]time.Duration{
		`{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}`: time.Millisecond,
		`{"name":"time","type":"long"}`: time.Millisecond,
		`{"name":"time","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}`:   time.Microsecond,
		`{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-nanos"}}`:        time.Nanosecond,
		`{"name":"timestamp","type":{"type":"long","logicalType":"local-timestamp-micros"}}`: time.Microsecond,
		`{"name":"timestamp","type":"string"}`:                                               time.Nanosecond,
		`{"name":"timestamp","type":["null","string"],"default":null}`:                       time.Nanosecond,
	} {
		if got := roundTrip(t, schemaOf(field), e); !got.Time.Equal(e.Time.Truncate(unit)) {
			t.Errorf("%s: %v", field, got.Time)
		}
	}
	for _, field := range []string{
		`{"name":"level","type":"string"}`,
		`{"name":"severity","type":["null","string"]}`,
		`{"name":"level","type":{"type":"enum","name":"L","symbols":["INFO","WARNING"]}}`,
		`{"name":"level","type":["null",{"type":"enum","name":"L","symbols":["warn"]}]}`,
	} {
		if got := roundTrip(t, schemaOf(field), e); got.Level != e.Level {
			t.Errorf("%s: %v", field, got.Level)
		}
	}
	if got := roundTrip(t, schemaOf(`{"name":"hostname","type":"string"},{"name":"organizationId","type":["string","null"]},{"name":"correlationId","type":"string"}`),
		e); got.Host != e.Host || got.CorrelationID != e.CorrelationID || got.Organisation != "" {
		t.Errorf("%+v", got)
	}
}

func TestAttributesGoWhereTheSchemaHasRoomForThem(t *testing.T) {
	e := event.Event{Attributes: []event.Attribute{{Key: "user", Value: event.String("u1")}, {Key: "n", Value: event.Int(-5)},
		{Key: "ratio", Value: event.Float(0.5)}, {Key: "ok", Value: event.Bool(true)}}}
	got := roundTrip(t, schemaOf(`{"name":"metadata","type":["null",{"type":"map","values":"string"}]}`), e)
	for key, want := range map[string]string{"user": "u1", "n": "-5", "ratio": "0.5", "ok": "true"} {
		if v, ok := got.Attribute(key); !ok || v.Kind() != event.KindString || v.Str() != want {
			t.Errorf("%s in a map of strings: %v", key, v)
		}
	}
	got = roundTrip(t, schemaOf(`{"name":"n","type":"int"},{"name":"ratio","type":["null","float"]},{"name":"ok","type":"boolean"},
		{"name":"missing","type":"int","default":7},{"name":"absent","type":["null","string"],"default":null},
		{"name":"list","type":{"type":"array","items":"int"},"default":[1,2]},
		{"name":"attributes","type":{"type":"map","values":["null","string","long"]}}`), e)
	for key, want := range map[string]any{"user": "u1", "n": int64(-5), "ratio": 0.5, "ok": true, "missing": int64(7)} {
		if v, ok := got.Attribute(key); !ok || v.Any() != want {
			t.Errorf("%s: %#v", key, v.Any())
		}
	}
	if len(got.Attributes) != 5 {
		t.Errorf("%v", got.Attributes)
	}
}

func TestAnIntegerGoesWhereItFits(t *testing.T) {
	for _, tc := range []struct {
		values string
		n      int64
		want   any
	}{
		{`"float"`, 1, 1.0},
		{`"float"`, -1 << 24, float64(-1 << 24)},
		{`["null","float"]`, 3, 3.0},
		{`["null","int","string"]`, 7, int64(7)},
		{`["null","int","string"]`, 1 << 40, "1099511627776"},
		{`["string","float"]`, 7, 7.0},
		{`["string","float"]`, 1<<24 + 1, "16777217"},
		{`["float","int","double"]`, 1 << 24, int64(1 << 24)},
		{`["float","int","double"]`, 1 << 40, float64(1 << 40)},
		{`["int","long"]`, 1 << 40, int64(1 << 40)},
		{`"string"`, 7, "7"},
	} {
		e := event.Event{Attributes: []event.Attribute{{Key: "n", Value: event.Int(tc.n)}}}
		for what, fields := range map[string]string{
			"map":   `{"name":"metadata","type":{"type":"map","values":` + tc.values + `}}`,
			"field": `{"name":"n","type":` + tc.values + `}`,
		} {
			got := roundTrip(t, schemaOf(fields), e)
			if v, ok := got.Attribute("n"); !ok || v.Any() != tc.want {
				t.Errorf("%d in a %s of %s came back as %#v, want %#v", tc.n, what, tc.values, v.Any(), tc.want)
			}
		}
	}
	for _, values := range []string{`"float"`, `"int"`, `["null","int"]`, `["int","float"]`} {
		e := event.Event{Attributes: []event.Attribute{{Key: "n", Value: event.Int(1<<40 + 1)}}}
		_, err := mustNew(t, schemaOf(`{"name":"metadata","type":{"type":"map","values":`+values+`}}`)).Append(nil, &e)
		if err == nil || !strings.Contains(err.Error(), "attribute n") || !strings.Contains(err.Error(), "does not fit") {
			t.Errorf("a number that does not fit %s: %v", values, err)
		}
	}
}

func TestAnEventThatDoesNotFitIsAnErrorThatNamesTheField(t *testing.T) {
	for _, tc := range []struct{ field, want string }{
		{`{"name":"level","type":{"type":"enum","name":"L","symbols":["INFO"]}}`, "field level: the schema's enum has no symbol for level WARN"},
		{`{"name":"tenant","type":"string"}`, "field tenant: the event has no such attribute"},
		{`{"name":"user_id","type":"boolean"}`, "field user_id: the schema wants boolean, got int64 123456"},
		{`{"name":"metadata","type":{"type":"map","values":"long"}}`, "attribute instance_id: the schema wants long, got string generator-1"},
	} {
		e := anEvent()
		buf, err := mustNew(t, schemaOf(tc.field)).Append([]byte("kept"), &e)
		if err == nil || !strings.Contains(err.Error(), tc.want) || string(buf) != "kept" {
			t.Errorf("%s: %q, %v", tc.field, buf, err)
		}
	}
	e := event.Event{Attributes: []event.Attribute{{Key: "n", Value: event.Int(1 << 40)}}}
	if _, err := mustNew(t, schemaOf(`{"name":"n","type":"int"}`)).Append(nil, &e); err == nil {
		t.Error("a number that does not fit an int was written")
	}
}

// A producer that writes nanoseconds where its schema says milliseconds.
func TestATimeInAnotherUnitThanTheSchemaSaysIsAnError(t *testing.T) {
	nanos := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for logical, number := range map[string]int64{"timestamp-millis": nanos, "timestamp-micros": nanos, "local-timestamp-millis": -nanos} {
		codec := mustNew(t, schemaOf(`{"name":"time","type":["null",{"type":"long","logicalType":"`+logical+`"}]}`))
		var e event.Event
		err := codec.Decode(appendLong([]byte{2}, number), &e)
		if err == nil || !strings.Contains(err.Error(), "field time: want a time of the years 1 to 9999") {
			t.Errorf("%s %d: %v, %v", logical, number, e.Time, err)
		}
	}
	codec := mustNew(t, schemaOf(`{"name":"time","type":"string"}`))
	for _, text := range []string{"0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"} {
		if err := codec.Decode(appendString(nil, text), &event.Event{}); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestATimeBeyondTheCalendarIsNotWritten(t *testing.T) {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	east := time.FixedZone("", 3600)
	for _, field := range []string{
		`{"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}`,
		`{"name":"time","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}`,
		`{"name":"time","type":"string"}`,
	} {
		codec := mustNew(t, schemaOf(field))
		for _, beyond := range []time.Time{first.Add(-1), last.Add(time.Second), time.UnixMilli(1767225600000000000), time.Unix(1<<62, 0)} {
			e := event.Event{Time: beyond}
			if _, err := codec.Append(nil, &e); err == nil || !strings.Contains(err.Error(), "field time: want a time of the years 1 to 9999") {
				t.Errorf("%s: the year %d: %v", field, beyond.Year(), err)
			}
		}
		for _, within := range []time.Time{first, last} {
			if got := roundTrip(t, schemaOf(field), event.Event{Time: within}); !got.Time.Equal(within) {
				t.Errorf("%s: %v came back as %v", field, within, got.Time)
			}
		}
	}
	e := event.Event{Time: last.In(east)} // the year 10000 there
	if _, err := mustNew(t, schemaOf(`{"name":"time","type":"string"}`)).Append(nil, &e); err == nil {
		t.Error("a year of five digits was written")
	}
}

func TestASchemaThatNoEventCanFillIsAnError(t *testing.T) {
	for schema, want := range map[string]string{
		`{`:        "avro schema",
		`"string"`: "must be a record",
		schemaOf(`{"name":"id","type":{"type":"fixed","name":"F","size":8}}`):           "field id: must be fixed of size 16 or string",
		schemaOf(`{"name":"time","type":"int"}`):                                        "field time: must be long",
		schemaOf(`{"name":"message","type":"bytes"}`):                                   "field message: must be string",
		schemaOf(`{"name":"level","type":["null","int"]}`):                              "field level: must be enum or string",
		schemaOf(`{"name":"metadata","type":"string"}`):                                 "field metadata: must be a map",
		schemaOf(`{"name":"metadata","type":{"type":"map","values":"bytes"}}`):          "field metadata: its values must be",
		schemaOf(`{"name":"list","type":{"type":"array","items":"int"}}`):               "field list: an event has nothing to put into an array of int; give the field a default",
		schemaOf(`{"name":"host","type":"string"},{"name":"hostname","type":"string"}`): "the event has one place for it and for host",
	} {
		if _, err := New(schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", schema, want, err)
		}
	}
}

func TestForeignRecordsAreReadAsFarAsAnEventHasRoom(t *testing.T) {
	schema := `{"type":"record","name":"Order","namespace":"shop","fields":[
		{"name":"id","type":"long"},
		{"name":"customer","type":{"type":"record","name":"Customer","fields":[{"name":"name","type":"string"},{"name":"friend","type":["null","Customer"]}]}},
		{"name":"tags","type":{"type":"array","items":"string"}},
		{"name":"state","type":{"type":"enum","name":"S","symbols":["OPEN","DONE"]}},
		{"name":"message","type":"int"},
		{"name":"total","type":"double"}]}`
	codec, err := NewReader(schema)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte{84}                                      // id 42
	body = append(body, 2, 'a', 2, 2, 'b', 0)               // customer a with friend b
	body = append(body, 3, 8, 2, 'x', 2, 'y', 2, 2, 'z', 0) // tags: a block of 2 that says its 4 bytes, one of 1 that does not
	body = append(body, 2)                                  // DONE
	body = append(body, 14)                                 // message 7
	body = append(body, 0, 0, 0, 0, 0, 0, 0x24, 0x40)       // 10.0
	var e event.Event
	if err := codec.Decode(body, &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != uuid.NewSHA1(uuid.NameSpaceOID, []byte("42")) || e.Message != "7" {
		t.Errorf("%+v", e)
	}
	for key, want := range map[string]any{"original_id": int64(42), "state": "DONE", "total": 10.0} {
		if v, ok := e.Attribute(key); !ok || v.Any() != want {
			t.Errorf("%s: %#v", key, v.Any())
		}
	}
	if _, err := codec.Append(nil, &e); err == nil {
		t.Error("a codec made for reading wrote")
	}
}

func TestTheFrameIsTheRegistrysOwn(t *testing.T) {
	framed := append(Frame([]byte("x"), 70000), "body"...)
	if !bytes.Equal(framed, []byte("x\x00\x00\x01\x11\x70body")) {
		t.Errorf("%q", framed)
	}
	if id, body, ok := Unframe(framed[1:]); !ok || id != 70000 || string(body) != "body" {
		t.Errorf("%d %q %v", id, body, ok)
	}
	for _, not := range []string{"", "\x00\x00\x00\x01", "{\"id\":1}"} {
		if _, _, ok := Unframe([]byte(not)); ok {
			t.Errorf("%q has no frame", not)
		}
	}
}

func TestABodyThatIsCutAnywhereIsAnError(t *testing.T) {
	codec, e := mustNew(t, shipped(t)), anEvent()
	body, err := codec.Append(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	for n := range body {
		if err := codec.Decode(body[:n], &e); err == nil {
			t.Fatalf("%d of %d bytes are read without an error", n, len(body))
		}
	}
	if err := codec.Decode(append(body, 0), &e); err == nil || !strings.Contains(err.Error(), "left over") {
		t.Errorf("one byte too many: %v", err)
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	codec, e := mustNew(t, shipped(t)), anEvent()
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf, _ = codec.Append(buf[:0], &e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	body, got := bytes.Clone(buf), event.Event{Attributes: make([]event.Attribute, 0, 8)}
	if n := testing.AllocsPerRun(100, func() { _ = codec.DecodeShared(body, &got) }); n != 0 {
		t.Errorf("reading: %v allocations", n)
	}
}

// FuzzDecode: whatever the bytes, decoding ends, without a panic and without
// making more of them than they are; what it accepts can be written again.
func FuzzDecode(f *testing.F) {
	codec, e := mustNew(f, shipped(f)), anEvent()
	body, err := codec.Append(nil, &e)
	if err != nil {
		f.Fatal(err)
	}
	nested, err := NewReader(schemaOf(`{"name":"tree","type":{"type":"record","name":"T","fields":[{"name":"v","type":"float"},
		{"name":"kids","type":{"type":"array","items":"T"}},{"name":"none","type":{"type":"array","items":"null"}},
		{"name":"m","type":{"type":"map","values":["null","boolean",{"type":"fixed","name":"F","size":3}]}}]}},
		{"name":"metadata","type":{"type":"map","values":["null","bytes","double"]}},{"name":"level","type":["string","int"]},{"name":"time","type":"string"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte{0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got event.Event
		_ = nested.Decode(data, &got)
		if err := codec.Decode(data, &got); err != nil {
			return
		}
		if len(got.Attributes) > len(data) {
			t.Fatalf("%d attributes of %d bytes", len(got.Attributes), len(data))
		}
		if _, err := codec.Append(nil, &got); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
