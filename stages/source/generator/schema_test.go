package generator

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"millrace/engine/event"
	"millrace/engine/load"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
)

// orders is a schema with a field of each type that an event can fill.
const orders = `{"type": "record", "name": "Order", "fields": [
	{"name": "event_id", "type": {"type": "fixed", "name": "I", "size": 16}},
	{"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
	{"name": "message", "type": "string"}, {"name": "correlationId", "type": ["null", "string"]},
	{"name": "customer_id", "type": "string"}, {"name": "email", "type": ["null", "string"]},
	{"name": "key", "type": {"type": "string", "logicalType": "uuid"}}, {"name": "client_ip", "type": "string"},
	{"name": "page_url", "type": "string"}, {"name": "product", "type": "string"},
	{"name": "state", "type": "string"}, {"name": "count", "type": "int"}, {"name": "total", "type": "double"},
	{"name": "paid", "type": "boolean"}, {"name": "shipped", "type": {"type": "long", "logicalType": "timestamp-micros"}},
	{"name": "weight", "type": ["null", "float"], "default": null}%s]}`

func schemaFile(t *testing.T, text string) stage.Path {
	t.Helper()
	file := filepath.Join(t.TempDir(), "order.avsc")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return stage.Path(file)
}

func TestContentOfASchemaFillsIt(t *testing.T) {
	for _, more := range []string{"", `, {"name": "metadata", "type": {"type": "map", "values": ["string", "long"]}}`} {
		schema := strings.Replace(orders, "%s", more, 1)
		codec, err := avro.New(schema)
		if err != nil {
			t.Fatal(err)
		}
		different := map[string]map[string]bool{}
		for _, e := range made(t, 1000, Content{Template: "service_logs", Avro: schemaFile(t, schema)}) {
			body, err := codec.Append(nil, &e)
			if err != nil {
				t.Fatal(err)
			}
			var back event.Event
			if err := codec.Decode(body, &back); err != nil || back.Message != e.Message {
				t.Fatalf("%+v came back as %+v: %v", e, back, err)
			}
			if _, kept := back.Attribute("user_id"); kept != (more != "") {
				t.Fatalf("with the fields %s: metadata %v", more, back.Attributes)
			}
			for _, a := range back.Attributes {
				if different[a.Key] == nil {
					different[a.Key] = map[string]bool{}
				}
				different[a.Key][a.Value.String()] = true
			}
		}
		for _, name := range []string{"customer_id", "email", "key", "client_ip", "page_url", "product", "state", "count", "total", "paid", "shipped", "weight"} {
			if n := len(different[name]); n < 2 {
				t.Errorf("%s has %d different values", name, n)
			}
		}
	}
}

func TestNumbersOfASchemaSuitTheirMeaning(t *testing.T) {
	for logical, want := range map[string]string{
		"date": "20089..20454", "timestamp-millis": "1735689600000..1767225600000", "local-timestamp-micros": "1735689600000000..1767225600000000",
		"time-millis": "0..86399999", "": "0..10000", "unheard-of": "0..10000",
	} {
		if got, _ := numberFor(logical).Range.MarshalText(); string(got) != want {
			t.Errorf("%s: %s, want %s", logical, got, want)
		}
	}
}

func TestSchemasThatDescribeNoEventAreProblems(t *testing.T) {
	for text, want := range map[string]string{
		"{":        "is no Avro schema",
		`"string"`: "must be a record to describe an event",
		`{"type": "record", "name": "R", "fields": [{"name": "list", "type": {"type": "array", "items": "int"}}]}`: "field list is array, which the metadata of an event has no place for",
	} {
		var p stage.Problems
		config(func(c *Config) { c.Content.Avro = schemaFile(t, text) }).Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != "content.avro" || !strings.Contains(p.Found[0].Text, want) {
			t.Errorf("%s: %+v", text, p.Found)
		}
	}
	var p stage.Problems
	config(func(c *Config) { c.Content.Avro = "nowhere.avsc" }).Validate(&p)
	if len(p.Found) != 1 || !strings.Contains(p.Found[0].Text, "cannot be read") {
		t.Errorf("%+v", p.Found)
	}
}

// twoPhases offers a hundred events of one phase, then a hundred of another.
func twoPhases() load.Profile {
	second, rate := stage.Duration(1e9), load.Rate(100)
	return load.Profile{Phases: []load.Phase{
		{Name: "calm", For: &second, Shape: load.Shape{Constant: &rate}}, {Name: "peak", For: &second, Shape: load.Shape{Constant: &rate}},
	}}
}

func TestAPhaseOfTheLoadHasOtherContent(t *testing.T) {
	quarter := stage.Percent(0.25)
	c := Content{Template: "service_logs", Levels: map[string]float64{"INFO": 1}, Phases: map[string]Override{
		"peak": {Levels: map[string]float64{"ERROR": 1}, DuplicateRatio: &quarter},
	}}
	for _, threads := range []int{1, 8} {
		var events []event.Event
		synctest.Test(t, func(t *testing.T) {
			events = readAll(t, context.Background(), open(t, config(func(cfg *Config) { cfg.Load, cfg.Threads, cfg.Content = twoPhases(), threads, c })))
		})
		levels, ids := map[string]map[event.Level]int{"calm": {}, "peak": {}}, map[string]map[[16]byte]bool{"calm": {}, "peak": {}}
		for i, e := range events {
			phase := "calm"
			if i >= 100 {
				phase = "peak"
			}
			levels[phase][e.Level]++
			ids[phase][e.ID] = true
		}
		if levels["calm"][event.LevelInfo] != 100 || levels["peak"][event.LevelError] != 100 {
			t.Errorf("levels %v", levels)
		}
		if n := len(ids["peak"]); len(ids["calm"]) != 100 || n < 60 || n > 90 {
			t.Errorf("%d different ids in calm, %d in peak", len(ids["calm"]), n)
		}
	}
}
