package set

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

type texts = map[string]string

func expressions(t testing.TB, all texts) map[string]expression.Value {
	t.Helper()
	made := map[string]expression.Value{}
	for to, source := range all {
		var v expression.Value
		if err := v.UnmarshalText([]byte(source)); err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		made[to] = v
	}
	return made
}

func open(t testing.TB, c *Config) stage.Applier {
	t.Helper()
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	a, err := c.Open(context.Background(), stage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

func payment() event.Event {
	return event.Event{
		ID: uuid.MustParse("0192f0c1-2345-7abc-8def-0123456789ab"), Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Level: event.LevelWarn,
		Source: "payments", Host: "web-1", Message: "card declined", StackTrace: "at a",
		Attributes: []event.Attribute{{Key: "user", Value: event.String("u7")}, {Key: "took", Value: event.Float(0.25)}, {Key: "n", Value: event.Int(3)}},
	}
}

// changed is what a payment becomes; it must not be refused.
func changed(t testing.TB, c *Config) event.Event {
	t.Helper()
	b := event.NewBatch([]event.Event{payment()})
	if err := open(t, c).Apply(context.Background(), b); err != nil || b.Outcome(0) != event.Open {
		t.Fatalf("%v, %v", err, b.Err(0))
	}
	return *b.Event(0)
}

func attributes(e event.Event) map[string]any {
	all := map[string]any{}
	for _, a := range e.Attributes {
		all[a.Key] = a.Value.Any()
	}
	return all
}

func TestValuesAndExpressionsAreSet(t *testing.T) {
	e := changed(t, &Config{
		Values: map[string]any{"source": "shop", "level": "error", "attributes.shard": int64(3), "attributes.share": 0.5, "attributes.test": true, "time": "2026-01-31T10:00:00+01:00"},
		Expressions: expressions(t, texts{
			"host": `upper(host)`, "attributes.slow": `attributes.took > 0.1`, "attributes.n": `attributes.n + 1`, "attributes.was": `source`, "attributes.missing": `attributes.gone`,
			"trace_id": `attributes.n`,
		}),
	})
	want := map[string]any{"user": "u7", "took": 0.25, "n": int64(4), "shard": int64(3), "share": 0.5, "test": true, "slow": true, "was": "payments"}
	if got := attributes(e); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if e.Source != "shop" || e.Level != event.LevelError || e.Host != "WEB-1" || e.TraceID != "3" || !e.Time.Equal(time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", e)
	}
}

func TestThingsHappenAtOnceSoThatTwoFieldsCanBeSwapped(t *testing.T) {
	e := changed(t, &Config{
		Rename: texts{"source": "host", "host": "source", "attributes.user": "attributes.customer", "attributes.gone": "attributes.n"},
		Copy:   texts{"attributes.text": "message", "attributes.at": "time", "attributes.level": "level", "attributes.id": "id", "correlation_id": "attributes.user"},
		Remove: []string{"stack_trace", "attributes.took", "attributes.unknown", "level"},
	})
	want := map[string]any{"customer": "u7", "n": int64(3), "text": "card declined", "at": "2026-03-01T12:00:00Z", "level": "WARN", "id": "0192f0c1-2345-7abc-8def-0123456789ab"}
	if got := attributes(e); !reflect.DeepEqual(got, want) || e.Source != "web-1" || e.Host != "payments" || e.CorrelationID != "u7" || e.StackTrace != "" || e.Level != event.LevelUnset {
		t.Errorf("got %v of %+v", got, e)
	}
}

func TestTimesAndLevelsAndIDsAreMadeOfWhatFits(t *testing.T) {
	e := changed(t, &Config{Expressions: expressions(t, texts{"time": `time - duration("1h")`, "level": `attributes.took > 0.1 ? ERROR : level`, "id": `"order-" + attributes.user`})})
	if !e.Time.Equal(payment().Time.Add(-time.Hour)) || e.Level != event.LevelError || e.ID != uuid.NewSHA1(uuid.NameSpaceOID, []byte("order-u7")) {
		t.Errorf("got %+v", e)
	}
	if v, _ := e.Attribute(originalID); v.Str() != "order-u7" {
		t.Errorf("got %v", v)
	}
	const id = "0192f0c1-2345-7abc-8def-000000000000"
	if e = changed(t, &Config{Values: map[string]any{"id": id}}); e.ID.String() != id || len(e.Attributes) != 3 {
		t.Errorf("got %+v", e)
	}
}

func TestAnEventThatDoesNotFitIsBadAndUnchanged(t *testing.T) {
	for want, c := range map[string]*Config{
		`copy.time: want a time such as`:                      {Copy: texts{"time": "message"}, Values: map[string]any{"source": "x"}, Remove: []string{"host"}},
		`copy.level: unknown level "card declined"`:           {Copy: texts{"level": "message"}},
		`expressions.level: want one of TRACE`:                {Expressions: expressions(t, texts{"level": `attributes.n + 100`})},
		`expressions.id: want an id`:                          {Expressions: expressions(t, texts{"id": `trace_id`})},
		`expressions.source: expression "attributes.took + "`: {Expressions: expressions(t, texts{"source": `attributes.took + ""`})},
		`copy.time: want a time such as 2026`:                 {Copy: texts{"time": "attributes.took"}},
	} {
		b := event.NewBatch([]event.Event{payment(), {Message: "2026-01-31T10:00:00Z"}})
		if err := open(t, c).Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		err := b.Err(0)
		if b.Outcome(0) != event.Refused || stage.ClassOf(err) != stage.BadEvent || !strings.Contains(err.Error(), strings.TrimSuffix(want, `"`)) {
			t.Errorf("got %v, %v\nwant %s", b.Outcome(0), err, want)
		}
		if got := *b.Event(0); !reflect.DeepEqual(got, payment()) {
			t.Errorf("it is bad and changed: %+v", got)
		}
	}
}

func TestABranchDoesNotSeeWhatAnotherChanges(t *testing.T) {
	b := event.NewBatch([]event.Event{payment()})
	branches := b.Fork("two", 2)
	c := &Config{Values: map[string]any{"attributes.user": "x"}, Remove: []string{"attributes.n"}}
	if err := open(t, c).Apply(context.Background(), branches[0]); err != nil {
		t.Fatal(err)
	}
	if got := attributes(*branches[1].Event(0)); got["user"] != "u7" || got["n"] != int64(3) {
		t.Errorf("the other branch has %v", got)
	}
}

// What only sets constants, copies from what it does not set, and removes
// gives the same when it is done again.
func TestDoingItAgainChangesNothingMore(t *testing.T) {
	places := []string{"source", "host", "message", "level", "attributes.user", "attributes.n", "attributes.new"}
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.Permutation(places).Draw(rt, "places")
		c := &Config{Values: map[string]any{}, Copy: texts{}}
		if order[0] == "level" {
			c.Values["level"] = "INFO"
		} else {
			c.Values[order[0]] = "x"
		}
		if order[1] != "level" {
			c.Copy[order[1]] = order[2]
		}
		c.Remove = order[3:4]
		a := open(t, c)
		once, twice := event.NewBatch([]event.Event{payment()}), event.NewBatch([]event.Event{payment()})
		for _, b := range []*event.Batch{once, twice, twice} {
			if err := a.Apply(context.Background(), b); err != nil {
				rt.Fatal(err)
			}
		}
		if x, y := *once.Event(0), *twice.Event(0); !reflect.DeepEqual(x, y) {
			rt.Fatalf("%+v: once %+v\ntwice %+v", c, x, y)
		}
	})
}

func TestMistakesAreNamed(t *testing.T) {
	for want, c := range map[string]*Config{
		": has nothing to do": {},
		`values.hots: must be a field of an event, such as host, or attributes.NAME, got "hots"`:     {Values: map[string]any{"hots": "x"}},
		"values.source: must be text, got 5; put it in quotes":                                       {Values: map[string]any{"source": int64(5)}},
		"values.attributes.x: must be text, a number, true or false":                                 {Values: map[string]any{"attributes.x": []any{"a"}}},
		`values.level: unknown level "loud"`:                                                         {Values: map[string]any{"level": "loud"}},
		"values.time: want a time":                                                                   {Values: map[string]any{"time": "now"}},
		"expressions.time: gives no time, which time cannot hold":                                    {Expressions: expressions(t, texts{"time": "source"})},
		"expressions.host: gives a time, which host cannot hold":                                     {Expressions: expressions(t, texts{"host": "time"})},
		"copy.host: sets host, which values.host sets too":                                           {Values: map[string]any{"host": "x"}, Copy: texts{"host": "source"}},
		`copy.host: must be a field of an event, such as host, or attributes.NAME, got ""`:           {Copy: texts{"host": ""}},
		"rename.source: sets host, which rename.message sets too":                                    {Rename: texts{"source": "host", "message": "host"}},
		"rename.id: takes the id away":                                                               {Rename: texts{"id": "attributes.id"}},
		"remove.0: takes the id away":                                                                {Remove: []string{"id"}},
		"remove.1: takes host away, which remove.0 does too":                                         {Remove: []string{"host", "host"}},
		"remove.0: takes host away, which rename.host does too":                                      {Rename: texts{"host": "source"}, Remove: []string{"host"}},
		"remove.0: removes host, which values.host sets":                                             {Values: map[string]any{"host": "x"}, Remove: []string{"host"}},
		`remove.0: must be a field of an event, such as host, or attributes.NAME, got "attributes."`: {Remove: []string{"attributes."}},
	} {
		var p stage.Problems
		if c.Validate(&p); len(p.Found) == 0 || !strings.HasPrefix(p.Found[0].Key+": "+p.Found[0].Text, want) {
			t.Errorf("got %+v\nwant %s", p.Found, want)
		}
	}
}

func TestExplainNamesWhatIsSetAndRemoved(t *testing.T) {
	c := &Config{Values: map[string]any{"attributes.team": "a"}, Rename: texts{"host": "source"}}
	if got := c.Explain().Does; !strings.HasPrefix(got, "sets attributes.team, source; an event for which") {
		t.Errorf("got %q", got)
	}
	if got := (&Config{Remove: []string{"host", "attributes.x"}}).Explain().Does; got != "removes host, attributes.x" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkApply(b *testing.B) {
	for name, c := range map[string]*Config{
		"values":      {Values: map[string]any{"attributes.team": "payments", "organisation": "acme"}},
		"expressions": {Expressions: expressions(b, texts{"attributes.slow": `attributes.took > 0.1`, "organisation": `attributes.user`})},
		"rename":      {Rename: texts{"host": "source"}, Copy: texts{"correlation_id": "attributes.user"}},
	} {
		b.Run(name, func(b *testing.B) {
			a := open(b, c)
			events := make([]event.Event, 500)
			own := make([][4]event.Attribute, len(events))
			batch := event.NewBatch(events)
			b.ReportAllocs()
			for b.Loop() {
				for i := range events {
					e := payment2
					e.Attributes = append(own[i][:0:4], e.Attributes...)
					events[i] = e
				}
				if err := a.Apply(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

var payment2 = payment()
