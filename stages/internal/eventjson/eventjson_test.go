package eventjson_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/internal/leaks"
	"millrace/stages/internal/eventjson"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// day32 is an event as the clients of the day 32 system send it.
const day32 = `{"eventId":"0192f0c1-2345-7abc-8def-0123456789ab","timestamp":"2026-03-01T12:00:00.123456Z","level":"WARN","source":"payments",` +
	`"hostname":"web-1.example.org","message":"card declined by issuer after 3 attempts","correlationId":"0192f0c1-2345-7abc-8def-0123456789ac",` +
	`"metadata":{"thread_id":"worker-3","request_id":"req-81723","user_id":"u-1234","amount":120}}`

func full() event.Event {
	return event.Event{
		ID: uuid.MustParse("0192f0c1-2345-7abc-8def-0123456789ab"), Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
		Level: event.LevelWarn, Source: "payments", Host: "web-1", Message: "line 1\nline \"2\"\t\\ \u2028 \x01 é 日本 \U0001f600", CorrelationID: "c-1", TraceID: "t-1",
		SpanID: "s-1", Organisation: "acme", StackTrace: "at main",
		Attributes: []event.Attribute{
			{Key: "user id", Value: event.String("u7")}, {Key: "n", Value: event.Int(-3)}, {Key: "whole", Value: event.Float(2)},
			{Key: "tiny", Value: event.Float(1e-300)}, {Key: "yes", Value: event.Bool(true)}, {Key: "no", Value: event.Bool(false)},
		},
	}
}

func TestAnEventIsOneObjectWithTheDocumentedNames(t *testing.T) {
	e := full()
	want := `{"id":"0192f0c1-2345-7abc-8def-0123456789ab","timestamp":"2026-03-01T12:00:00.123456Z","level":"WARN","source":"payments","host":"web-1",` +
		`"message":"line 1\nline \"2\"\t\\ \u2028 \u0001 é 日本 😀","correlation_id":"c-1","trace_id":"t-1","span_id":"s-1","organisation":"acme","stack_trace":"at main",` +
		`"metadata":{"user id":"u7","n":-3,"whole":2.0,"tiny":1e-300,"yes":true,"no":false}}`
	if got := string(eventjson.Append([]byte("before "), &e)); got != "before "+want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEmptyFieldsAreLeftOut(t *testing.T) {
	for want, e := range map[string]event.Event{
		`{}`:                           {},
		`{"message":"x"}`:              {Message: "x"},
		`{"metadata":{"a":"NaN"}}`:     {Attributes: []event.Attribute{{Key: "a", Value: event.Float(math.NaN())}}},
		`{"metadata":{"a":"-Inf"}}`:    {Attributes: []event.Attribute{{Key: "a", Value: event.Float(math.Inf(-1))}}},
		`{"message":"a\ufffd\ufffdb"}`: {Message: "a\xff\xfeb"},
	} {
		if got := string(eventjson.Append(nil, &e)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTextIsEscapedAsEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "runes") {
			text = rapid.StringN(1, 40, -1).Draw(t, "text")
		}
		got := eventjson.Append(nil, &event.Event{Message: text, Attributes: []event.Attribute{{Key: text, Value: event.String(text)}}})
		var read struct {
			Message  string
			Metadata map[string]string
		}
		if err := json.Unmarshal(got, &read); err != nil {
			t.Fatalf("%q became %s: %v", text, got, err)
		}
		want := mended(text)
		if read.Message != want || read.Metadata[want] != want {
			t.Fatalf("%q became %s", text, got)
		}
	})
}

// mended is what encoding/json makes of text.
func mended(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		panic(err)
	}
	return s
}

func TestWhatWasWrittenIsReadTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := event.Event{
			Time:  time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC(),
			Level: event.Level(rapid.IntRange(0, 6).Draw(t, "level")),
		}
		copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		for _, to := range []*string{&e.Source, &e.Host, &e.Message, &e.CorrelationID, &e.TraceID, &e.SpanID, &e.Organisation, &e.StackTrace} {
			*to = rapid.String().Draw(t, "text")
		}
		for range rapid.IntRange(0, 12).Draw(t, "attributes") {
			value := rapid.OneOf(rapid.Map(rapid.String(), event.String), rapid.Map(rapid.Int64(), event.Int),
				rapid.Map(rapid.Float64(), event.Float), rapid.Map(rapid.Bool(), event.Bool)).Draw(t, "value")
			e.SetAttribute(rapid.String().Draw(t, "key"), value)
		}
		data := eventjson.Append(nil, &e)
		got := event.Event{Attributes: []event.Attribute{{Key: "of the event before"}}, Message: "of the event before"}
		if err := eventjson.Decode(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if len(got.Attributes) == 0 {
			got.Attributes = nil
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("%s\ngot  %+v\nwant %+v", data, got, e)
		}
	})
}

func decode(t *testing.T, text string) event.Event {
	t.Helper()
	var e event.Event
	if err := eventjson.Decode([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func TestTheNamesOfTheReferenceSystemsAreUnderstood(t *testing.T) {
	for _, text := range []string{
		`{"id":"0192f0c1-2345-7abc-8def-0123456789ab","time":"2026-03-01T12:00:00Z","host":"h","correlation_id":"c","trace_id":"t","span_id":"s","organisation":"o","stack_trace":"x","attributes":{"a":1}}`,
		`{"eventId":"0192F0C1-2345-7ABC-8DEF-0123456789AB","timestamp":"2026-03-01T13:00:00+01:00","hostname":"h","correlationId":"c","traceId":"t","spanId":"s","organizationId":"o","stackTrace":"x","metadata":{"a":1}}`,
		`{"event_id":"0192f0c1-2345-7abc-8def-0123456789ab","timestamp":1772366400000,"host":"h","correlationId":"c","traceId":"t","spanId":"s","organisation_id":"o","stackTrace":"x","a":1}`,
		`{"id":"0192f0c1-2345-7abc-8def-0123456789ab","time":"2026-03-01 12:00:00","host":"h","correlationId":"c","traceId":"t","spanId":"s","organization":"o","stackTrace":"x","a":1,"b":null,"source":null}`,
	} {
		want := event.Event{
			ID: uuid.MustParse("0192f0c1-2345-7abc-8def-0123456789ab"), Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Host: "h", CorrelationID: "c",
			TraceID: "t", SpanID: "s", Organisation: "o", StackTrace: "x", Attributes: []event.Attribute{{Key: "a", Value: event.Int(1)}},
		}
		if got := decode(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

func TestNothingThatArrivesIsThrownAway(t *testing.T) {
	e := decode(t, `{"id":"order-17","thread":"t1","nested":{"a":[1,2,{"b":null}]},"metadata":{"list":[1, "x"],"big":123456789012345678901234567890,"f":1.5,"t":true}}`)
	for key, want := range map[string]event.Value{
		"original_id": event.String("order-17"), "thread": event.String("t1"), "nested": event.String(`{"a":[1,2,{"b":null}]}`), "list": event.String(`[1, "x"]`),
		"big": event.String("123456789012345678901234567890"), "f": event.Float(1.5), "t": event.Bool(true),
	} {
		if got, ok := e.Attribute(key); !ok || got != want {
			t.Errorf("%s: got %v (%v), want %v", key, got, ok, want)
		}
	}
	if e.ID.Version() != 5 || e.ID != decode(t, `{"eventId":"order-17"}`).ID || e.ID == decode(t, `{"id":"order-18"}`).ID {
		t.Errorf("the id of order-17 is %v", e.ID)
	}
	if again := decode(t, string(eventjson.Append(nil, &e))); again.ID != e.ID || !reflect.DeepEqual(again.Attributes[0], e.Attributes[0]) {
		t.Errorf("written and read again: %+v", again)
	}
}

func TestOfANameThatComesTwiceTheLastWins(t *testing.T) {
	e := decode(t, `{"message":"a","host":"a","metadata":{"k":1,"l":1,"k":2},"message":"b","hostname":"b","attributes":{"k":"3","l":null}}`)
	if k, _ := e.Attribute("k"); e.Message != "b" || e.Host != "b" || len(e.Attributes) != 1 || k != event.String("3") {
		t.Errorf("got %+v", e)
	}
}

func TestWhatTheSourceHasSetStays(t *testing.T) {
	e := event.Event{Due: 1, Offset: 2, Key: "k", Raw: []byte("r"), Message: "old", Level: event.LevelFatal}
	if err := eventjson.Decode([]byte(`{}`), &e); err != nil {
		t.Fatal(err)
	}
	if want := (event.Event{Due: 1, Offset: 2, Key: "k", Raw: []byte("r")}); !reflect.DeepEqual(e, want) {
		t.Errorf("got %+v", e)
	}
}

func TestMistakesAreToldWithFieldOrPlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"message":5}`:                       `message: want text, got a number`,
		`{"message":{"a":1}}`:                 `message: want text, got an object`,
		`{"hostname":["a"]}`:                  `hostname: want text, got an array`,
		`{"source":true}`:                     `source: want text, got a boolean`,
		`{"eventId":17}`:                      `eventId: want text, got a number`,
		`{"metadata":"x"}`:                    `metadata: want an object, got text`,
		`{"level":"LOUD"}`:                    `level: unknown level "LOUD"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL`,
		`{"level":3}`:                         `level: want text, got a number`,
		`{"level":"` + long + `"}`:            `level: unknown level, a text of 2000 bytes`,
		`{"time":"yesterday"}`:                `time: want a time such as`,
		`{"time":"2026-02-30T00:00:00Z"}`:     `time: want a time such as`,
		`{"time":"2026-02-03T24:00:00Z"}`:     `time: want a time such as`,
		`{"time":"2026-02-03T20:00:00.Z"}`:    `time: want a time such as`,
		`{"time":"2026-02-03T20:00:00+1:00"}`: `time: want a time such as`,
		`{"time":1.5}`:                        `time: want a time such as`,
		`{"time":1e300}`:                      `time: want a time such as`,
		`{"time":999999999999999999}`:         `time: want a time such as`,
		`{"timestamp":true}`:                  `timestamp: want a time, got a boolean`,
		`{"a":1e999}`:                         `a: the number is too large`,
		``:                                    `at byte 0: the JSON ends too early`,
		`  `:                                  `at byte 2: the JSON ends too early`,
		`[]`:                                  `at byte 0: want a JSON object, got an array`,
		`null`:                                `at byte 0: want a JSON object, got null`,
		`hello`:                               `at byte 0: want a JSON object, got something that is no JSON`,
		`{"message":"a"`:                      `at byte 14: the JSON ends too early`,
		`{"message":"a`:                       `at byte 13: the JSON ends too early`,
		`{"message":"a"} {}`:                  `at byte 16: something follows the JSON object`,
		`{"message":"a",}`:                    `at byte 15: want the name of a field in quotation marks`,
		`{"message" "a"}`:                     `at byte 11: want a colon`,
		`{"a":1 "b":2}`:                       `at byte 7: want a comma`,
		"{\"message\":\"a\nb\"}":              `at byte 13: a control character must be escaped in a string`,
		`{"message":"\x"}`:                    `at byte 13: unknown escape in a string`,
		`{"message":"\u12g4"}`:                `at byte 16: want four hexadecimal digits`,
		`{"a":01}`:                            `at byte 6: want a comma`,
		`{"a":1.}`:                            `at byte 7: want a digit after the point`,
		`{"a":nul}`:                           `at byte 5: want a JSON value`,
		`{"a":` + strings.Repeat("[", 100):    `at byte 68: nested deeper than 64`,
		`{"message":nope}`:                    `at byte 11: want a JSON value`,
		`{"message":xyz}`:                     `at byte 11: want a digit`,
	} {
		var e event.Event
		if err := eventjson.Decode([]byte(text), &e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

var long = strings.Repeat("x", 2000)

func TestTheNumberOfAttributesIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"x":0`)
	for i := range 1024 {
		b.WriteString(`,"k` + string(rune('a'+i/32)) + string(rune('a'+i%32)) + `":1`)
	}
	b.WriteString("}")
	var e event.Event
	if err := eventjson.Decode([]byte(b.String()), &e); err == nil || err.Error() != "metadata: at most 1024 attributes are taken" {
		t.Errorf("got %v", err)
	}
}

// What a stranger sends costs in proportion to its length: names that come
// again and again, and are taken out in between, are not copied each time.
func TestManyNamesThatComeAndGoCostNoMoreThanTheirLength(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"gone":0`)
	for i := range 1000 {
		fmt.Fprintf(&text, `,"%03x":%d`, i, i)
	}
	for i := 0; text.Len() < 4<<20; i++ {
		fmt.Fprintf(&text, `,"3e7":null,"3e7":%d,"metadata":{"id":1,"000":null,"000":%d}`, i, i)
	}
	text.WriteString(`,"gone":null,"3e7":"last"}`)
	var e event.Event
	allocations := testing.AllocsPerRun(1, func() {
		if err := eventjson.DecodeString(text.String(), &e); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 1000 {
		t.Errorf("%v allocations", allocations)
	}
	seen := map[string]event.Value{}
	for _, a := range e.Attributes {
		if _, twice := seen[a.Key]; twice {
			t.Errorf("%s is there twice", a.Key)
		}
		seen[a.Key] = a.Value
	}
	if _, there := seen["gone"]; there || len(seen) != 1001 || seen["3e7"] != event.String("last") || seen["001"] != event.Int(1) {
		t.Errorf("%d attributes; gone %v, 3e7 %v, 001 %v", len(seen), there, seen["3e7"], seen["001"])
	}
}

// What was found in one element of an array says nothing of the next.
func TestElementsOfAnArrayHaveTheirOwnNames(t *testing.T) {
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `,"a%d":%d`, i, i)
	}
	array, err := eventjson.NewArray(`[{"x":1` + many.String() + `},{"a99":1,"x":null},{"x":2` + many.String() + `,"x":3}]`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{101, 1, 101} {
		var e event.Event
		if _, bad, err := array.Next(&e); bad != nil || err != nil || len(e.Attributes) != want {
			t.Errorf("%d attributes, want %d; %v %v", len(e.Attributes), want, bad, err)
		}
	}
}
