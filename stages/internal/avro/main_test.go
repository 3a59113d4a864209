package avro

import (
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// shipped is the schema that the pipelines use.
func shipped(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../../schemas/log_event.avsc")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustNew(t testing.TB, schema string) *Codec {
	t.Helper()
	c, err := New(schema)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// anEvent is about what the generator makes: 212 bytes, 4 attributes.
func anEvent() event.Event {
	return event.Event{
		ID:            uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"),
		Time:          time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC),
		Level:         event.LevelWarn,
		Source:        "payment-service",
		Host:          "node-17",
		Message:       "payment 4711 declined after 231 ms: insufficient funds",
		CorrelationID: "01890a5d-ac96-774b-bcce-b302099a8058",
		Attributes: []event.Attribute{
			{Key: "thread_id", Value: event.Int(7)},
			{Key: "instance_id", Value: event.String("generator-1")},
			{Key: "request_id", Value: event.String("req-00042")},
			{Key: "user_id", Value: event.Int(123456)},
		},
	}
}

// events draws any event that Avro can carry; times are whole microseconds.
func events() *rapid.Generator[event.Event] {
	return rapid.Custom(func(t *rapid.T) event.Event {
		text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(60, 70, -1))
		e := event.Event{
			Time:          time.UnixMicro(rapid.Int64Range(-1e15, 4e15).Draw(t, "time")).UTC(),
			Level:         event.Level(rapid.IntRange(0, 6).Draw(t, "level")),
			Source:        text.Draw(t, "source"),
			Host:          text.Draw(t, "host"),
			Message:       text.Draw(t, "message"),
			CorrelationID: text.Draw(t, "correlation id"),
			TraceID:       text.Draw(t, "trace id"),
			SpanID:        text.Draw(t, "span id"),
			Organisation:  text.Draw(t, "organisation"),
			StackTrace:    text.Draw(t, "stack trace"),
		}
		copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		value := rapid.OneOf(
			rapid.Map(rapid.String(), event.String),
			rapid.Map(rapid.Int64(), event.Int),
			rapid.Map(rapid.Float64(), event.Float),
			rapid.Map(rapid.Bool(), event.Bool),
		)
		for _, key := range rapid.SliceOfNDistinct(rapid.String(), 0, 50, rapid.ID).Draw(t, "keys") {
			e.Attributes = append(e.Attributes, event.Attribute{Key: key, Value: value.Draw(t, "value")})
		}
		return e
	})
}
