package filter

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func open(t testing.TB, when, drop string) stage.Applier {
	t.Helper()
	c := Stage.New().(*Config)
	if when != "" {
		if err := c.When.UnmarshalText([]byte(when)); err != nil {
			t.Fatal(err)
		}
	}
	if drop != "" {
		if err := c.Drop.UnmarshalText([]byte(drop)); err != nil {
			t.Fatal(err)
		}
	}
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	f, err := c.Open(context.Background(), stage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background()) })
	return f
}

func apply(t testing.TB, f stage.Applier, b *event.Batch) {
	t.Helper()
	if err := f.Apply(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

func TestExactlyOneRuleIsWanted(t *testing.T) {
	var none, both stage.Problems
	(&Config{}).Validate(&none)
	c := &Config{}
	for _, err := range []error{c.When.UnmarshalText([]byte("level > INFO")), c.Drop.UnmarshalText([]byte("level > INFO"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Validate(&both)
	if len(none.Found) != 1 || len(both.Found) != 1 || both.Found[0].Key != "drop" {
		t.Errorf("got %+v and %+v", none, both)
	}
}

// For any mix of levels, when keeps what matches and drop what does not, and
// each event is settled once or still open.
func TestWhenKeepsAndDropTakesOut(t *testing.T) {
	when, drop := open(t, "level >= WARN", ""), open(t, "", "level >= WARN")
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 50).Draw(t, "levels")
		kept, dropped := make([]event.Event, len(levels)), make([]event.Event, len(levels))
		for i, l := range levels {
			kept[i].Level, dropped[i].Level = event.Level(l), event.Level(l)
		}
		a, b := event.NewBatch(kept), event.NewBatch(dropped)
		settled := 0
		a.OnSettle(func(_, n int, _ event.Outcome) { settled += n })
		for _, err := range []error{when.Apply(context.Background(), a), drop.Apply(context.Background(), b)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for row, e := range a.All() {
			if loud := e.Level >= event.LevelWarn; (a.Outcome(row) == event.Open) != loud || (b.Outcome(row) == event.Filtered) != loud {
				t.Fatalf("%v: when made it %v, drop %v", e.Level, a.Outcome(row), b.Outcome(row))
			}
		}
		if settled != a.Count(event.Filtered) {
			t.Fatalf("the books heard of %d events, %d are filtered", settled, a.Count(event.Filtered))
		}
	})
}

func TestAnEventForWhichTheRuleMakesNoSenseIsBadAndAlone(t *testing.T) {
	f := open(t, "attributes.size > 5", "")
	with := func(v event.Value) event.Event {
		return event.Event{Attributes: []event.Attribute{{Key: "size", Value: v}}}
	}
	b := event.NewBatch([]event.Event{with(event.Int(6)), with(event.String("big")), with(event.Int(5))})
	apply(t, f, b)
	if b.Outcome(0) != event.Open || b.Outcome(1) != event.Refused || b.Outcome(2) != event.Filtered {
		t.Errorf("got %v, %v, %v", b.Outcome(0), b.Outcome(1), b.Outcome(2))
	}
	err := b.Err(1)
	if stage.ClassOf(err) != stage.BadEvent || !strings.Contains(err.Error(), `filter when cannot be decided: expression "attributes.size > 5": column 17`) {
		t.Errorf("got %v", err)
	}
}

func TestExplainNamesTheRule(t *testing.T) {
	c := &Config{}
	if err := c.Drop.UnmarshalText([]byte(`source == "x"`)); err != nil {
		t.Fatal(err)
	}
	if got := c.Explain().Does; !strings.HasPrefix(got, `events that are source == "x" are taken out`) {
		t.Errorf("got %q", got)
	}
}

func BenchmarkApply(b *testing.B) {
	f := open(b, `level >= WARN || source == "payments"`, "")
	events := make([]event.Event, 500)
	for i := range events {
		events[i] = event.Event{Level: event.Level(i % 7), Source: "orders"}
	}
	batch := event.NewBatch(events)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset(events)
		apply(b, f, batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
