package enrich

import (
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// noon is a clock that stands still.
type noon struct{ stage.Clock }

func (noon) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func open(t testing.TB, c *Config) stage.Applier {
	t.Helper()
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	a, err := c.Open(context.Background(), stage.Settings{Clock: noon{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

func everything() *Config {
	return &Config{Set: map[string]string{"team": "payments", "region": "eu"}, Environment: "staging", Host: true, CorrelationID: true, Time: true}
}

func apply(t testing.TB, a stage.Applier, events ...event.Event) []event.Event {
	t.Helper()
	if err := a.Apply(context.Background(), event.NewBatch(events)); err != nil {
		t.Fatal(err)
	}
	return events
}

func TestEmptyFieldsAreFilled(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := apply(t, open(t, everything()), event.Event{ID: id, Attributes: []event.Attribute{{Key: "team", Value: event.String("orders")}}}, event.Event{Due: 1e18})
	e := got[0]
	if e.Host != host || e.CorrelationID != id.String() || !e.Time.Equal(noon{}.Now()) {
		t.Errorf("got %+v", e)
	}
	want := []event.Attribute{{Key: "team", Value: event.String("payments")}, {Key: "environment", Value: event.String("staging")}, {Key: "region", Value: event.String("eu")}}
	if !reflect.DeepEqual(e.Attributes, want) {
		t.Errorf("attributes: %+v", e.Attributes)
	}
	if !got[1].Time.Equal(time.Unix(1e9, 0)) || got[1].CorrelationID != "" {
		t.Errorf("an event that was due and has no id: %+v", got[1])
	}
}

func TestWhatTheProducerSaidStays(t *testing.T) {
	e := event.Event{ID: uuid.Must(uuid.NewV7()), Host: "web-1", CorrelationID: "c", Time: time.Unix(5, 0)}
	got := apply(t, open(t, &Config{Host: true, CorrelationID: true, Time: true}), e)
	if !reflect.DeepEqual(got[0], e) {
		t.Errorf("got %+v", got[0])
	}
}

func TestDoingItAgainChangesNothing(t *testing.T) {
	a := open(t, everything())
	rapid.Check(t, func(t *rapid.T) {
		events := make([]event.Event, rapid.IntRange(1, 20).Draw(t, "events"))
		for i := range events {
			if rapid.Bool().Draw(t, "id") {
				events[i].ID = uuid.Must(uuid.NewV7())
			}
			events[i].CorrelationID = rapid.SampledFrom([]string{"", "c"}).Draw(t, "correlation")
			events[i].Host = rapid.SampledFrom([]string{"", "h"}).Draw(t, "host")
			if rapid.Bool().Draw(t, "attribute") {
				events[i].SetAttribute("region", event.Int(5))
			}
		}
		b := event.NewBatch(events)
		if err := a.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		once := make([]event.Event, len(events))
		for i := range events {
			once[i] = events[i].Share()
		}
		if err := a.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		for i := range events {
			again := events[i].Share()
			if once[i] = once[i].Share(); !reflect.DeepEqual(again, once[i]) {
				t.Fatalf("once %+v\nagain %+v", once[i], again)
			}
			if events[i].ID != uuid.Nil && events[i].CorrelationID != "c" && events[i].CorrelationID != events[i].ID.String() {
				t.Fatalf("correlation id %q of %v", events[i].CorrelationID, events[i].ID)
			}
		}
	})
}

func TestABranchDoesNotSeeWhatAnotherSets(t *testing.T) {
	e := event.Event{Attributes: []event.Attribute{{Key: "team", Value: event.String("orders")}}}
	branch := e.Share()
	apply(t, open(t, &Config{Set: map[string]string{"team": "payments"}}), branch)
	if v, _ := e.Attribute("team"); v != event.String("orders") {
		t.Errorf("the original has %v", v)
	}
}

func TestProblemsAreReported(t *testing.T) {
	for _, c := range []*Config{{}, {Set: map[string]string{"": "x"}}, {Set: map[string]string{"environment": "x"}, Environment: "y"}} {
		var p stage.Problems
		if c.Validate(&p); len(p.Found) != 1 {
			t.Errorf("%+v: got %+v", c, p.Found)
		}
	}
}

func TestABatchCostsAFewPiecesOfMemory(t *testing.T) {
	a := open(t, everything())
	events := make([]event.Event, 500)
	batch := event.NewBatch(events)
	got := testing.AllocsPerRun(20, func() {
		for i := range events {
			events[i] = event.Event{ID: uuid.Max}
		}
		if err := a.Apply(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	})
	if got > 5 {
		t.Errorf("%v allocations for a batch of 500", got)
	}
}

func BenchmarkApply(b *testing.B) {
	a := open(b, everything())
	events := make([]event.Event, 500)
	for i := range events {
		events[i] = event.Event{ID: uuid.Must(uuid.NewV7()), Attributes: make([]event.Attribute, 0, 4)}
	}
	batch := event.NewBatch(events)
	b.ReportAllocs()
	for b.Loop() {
		for i := range events {
			events[i].CorrelationID, events[i].Attributes = "", events[i].Attributes[:0]
		}
		if err := a.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
