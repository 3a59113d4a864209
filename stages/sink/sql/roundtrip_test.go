package sql

import (
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
)

// stored is a row read back.
type stored struct {
	time       time.Time
	texts      [len(texts)]string
	metadata   string
	attributes map[string][2]string // value and type by key
}

// read reads the row of an event.
func (p *place) read(t rapid.TB, c *Config, id uuid.UUID) stored {
	t.Helper()
	var s stored
	var at any
	var metadata stdsql.NullString
	var columns [len(texts)]stdsql.NullString
	into := []any{&at}
	for i := range columns {
		into = append(into, &columns[i])
	}
	names := append(eventColumns(false)[1:], "metadata")
	if c.AttributesTable != "" {
		names[len(names)-1] = "NULL"
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE event_id = $1 AND processed_at IS NOT NULL", strings.Join(names, ", "), p.sql(c.Table))
	if err := p.reads.QueryRow(query, id.String()).Scan(append(into, &metadata)...); err != nil {
		t.Fatalf("reading the row of %v: %v", id, err)
	}
	switch at := at.(type) {
	case time.Time:
		s.time = at
	case string:
		parsed, err := time.Parse(sqliteTime, at)
		if err != nil {
			t.Fatalf("timestamp %q: %v", at, err)
		}
		s.time = parsed
	}
	for i := range columns {
		s.texts[i] = columns[i].String
	}
	s.metadata = metadata.String
	if c.AttributesTable != "" {
		s.attributes = p.readAttributes(t, c, id)
	}
	return s
}

func (p *place) readAttributes(t rapid.TB, c *Config, id uuid.UUID) map[string][2]string {
	t.Helper()
	rows, err := p.reads.Query("SELECT key, value, type FROM "+p.sql(c.AttributesTable)+" WHERE event_id = $1", id.String())
	if err != nil {
		t.Fatalf("reading attributes: %v", err)
	}
	defer rows.Close()
	found := map[string][2]string{}
	for rows.Next() {
		var key, value, typ string
		if err := rows.Scan(&key, &value, &typ); err != nil {
			t.Fatalf("reading attributes: %v", err)
		}
		found[key] = [2]string{value, typ}
	}
	return found
}

// same compares an event with its row.
func same(t rapid.TB, e *event.Event, got stored, attributes bool) {
	t.Helper()
	if want := e.Time.Truncate(time.Microsecond); !got.time.Equal(want) {
		t.Errorf("timestamp: want %v, got %v", want.UTC(), got.time.UTC())
	}
	for i := range texts {
		if want := texts[i].value(e); got.texts[i] != want {
			t.Errorf("column %s: want %q, got %q", texts[i].name, want, got.texts[i])
		}
	}
	if attributes {
		sameAttributes(t, e, got.attributes)
	} else {
		sameMetadata(t, e, got.metadata)
	}
}

func sameAttributes(t rapid.TB, e *event.Event, got map[string][2]string) {
	t.Helper()
	if len(got) != len(e.Attributes) {
		t.Errorf("want %d attributes, got %v", len(e.Attributes), got)
	}
	for _, a := range e.Attributes {
		if want := [2]string{a.Value.String(), kinds[a.Value.Kind()]}; got[a.Key] != want {
			t.Errorf("attribute %q: want %q, got %q", a.Key, want, got[a.Key])
		}
	}
}

func sameMetadata(t rapid.TB, e *event.Event, got string) {
	t.Helper()
	if len(e.Attributes) == 0 {
		if got != "" {
			t.Errorf("want no metadata, got %s", got)
		}
		return
	}
	decoder := json.NewDecoder(strings.NewReader(got))
	decoder.UseNumber()
	values := map[string]any{}
	if err := decoder.Decode(&values); err != nil || len(values) != len(e.Attributes) {
		t.Fatalf("metadata %s: %v", got, err)
	}
	for _, a := range e.Attributes {
		if !sameJSON(a.Value, values[a.Key]) {
			t.Errorf("metadata %q: want %v, got %v", a.Key, a.Value, values[a.Key])
		}
	}
}

func sameJSON(v event.Value, got any) bool {
	switch number, _ := got.(json.Number); v.Kind() {
	case event.KindInt:
		return string(number) == strconv.FormatInt(v.Int(), 10)
	case event.KindFloat:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return got == v.String()
		}
		f, err := number.Float64()
		return err == nil && f == v.Float()
	default:
		return got == v.Any()
	}
}

func testColumns(t *testing.T, p *place) {
	e := some(1)[0]
	e.StackTrace = "java.lang.IllegalStateException: \"quoted\" \\ back\n\tat Main.main(Main.java:7)\n"
	e.Level = event.LevelError
	e.SetAttribute("ratio", event.Float(0.25))
	e.SetAttribute("ok", event.Bool(true))
	e.SetAttribute("whole", event.Float(3))
	bare := event.Event{ID: uuid.New(), Time: time.Time{}}
	for _, change := range []func(*Config){nil, p.withAttributes} {
		c := p.config(change)
		c.Table = p.table(fmt.Sprint("columns_", change == nil))
		write(t, p.open(t, c), e, bare)
		same(t, &e, p.read(t, c, e.ID), change != nil)
		same(t, &bare, p.read(t, c, bare.ID), change != nil)
		if n := p.number(t, "SELECT count(*) FROM "+p.sql(c.Table)+" WHERE level IS NULL AND host IS NULL AND message = ''"); n != 1 {
			t.Error("want what an event does not say as NULL")
		}
	}
}

func testRoundTrip(t *testing.T, p *place) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC).Unix()
	if strings.HasPrefix(p.dsn, "postgres") {
		last = postgresEnd - 1
	}
	plain, split := p.config(nil), p.config(p.withAttributes)
	split.Table = p.table("split")
	writers := map[*Config]func(...event.Event){}
	for _, c := range []*Config{plain, split} {
		w := p.open(t, c)
		writers[c] = func(events ...event.Event) { write(t, w, events...) }
	}
	rapid.Check(t, func(r *rapid.T) {
		events := rapid.SliceOfN(anyEvent(last), 1, 5).Draw(r, "events")
		for c, write := range writers {
			write(events...)
			for i := range events {
				same(r, &events[i], p.read(r, c, events[i].ID), c == split)
			}
		}
	})
}

// anyEvent makes events with any storable text, time and attributes.
func anyEvent(last int64) *rapid.Generator[event.Event] {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	text := rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(s, "\x00", "") })
	value := rapid.OneOf(
		rapid.Map(text, event.String), rapid.Map(rapid.Int64(), event.Int),
		rapid.Map(rapid.Bool(), event.Bool), rapid.Map(rapid.Float64(), event.Float),
		rapid.Map(rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1e15, -0.5}), event.Float),
	)
	return rapid.Custom(func(r *rapid.T) event.Event {
		e := event.Event{
			ID:     uuid.New(),
			Time:   time.Unix(rapid.Int64Range(first, last).Draw(r, "seconds"), rapid.Int64Range(0, 999999999).Draw(r, "nanoseconds")),
			Level:  event.Level(rapid.IntRange(0, int(event.LevelFatal)).Draw(r, "level")),
			Source: text.Draw(r, "source"), Host: text.Draw(r, "host"), Message: text.Draw(r, "message"),
			CorrelationID: text.Draw(r, "correlation"), TraceID: text.Draw(r, "trace"), SpanID: text.Draw(r, "span"),
			Organisation: text.Draw(r, "organisation"), StackTrace: text.Draw(r, "stack"),
		}
		for key, v := range rapid.MapOfN(text, value, 0, 6).Draw(r, "attributes") {
			e.Attributes = append(e.Attributes, event.Attribute{Key: key, Value: v})
		}
		return e
	})
}
