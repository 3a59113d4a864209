package parse

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// arrival is when the events of the tests arrive.
var arrival = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// noon is a clock that stands still.
type noon struct{ stage.Clock }

func (noon) Now() time.Time { return arrival }

// config is a Config with the defaults.
func config(formats ...string) *Config {
	c := Stage.New().(*Config)
	c.Format = formats
	return c
}

func open(t testing.TB, c *Config) stage.Applier {
	t.Helper()
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	a, err := c.Open(context.Background(), stage.Settings{Clock: noon{}, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

// apply parses events as one batch.
func apply(t testing.TB, a stage.Applier, events ...event.Event) *event.Batch {
	t.Helper()
	b := event.NewBatch(events)
	if err := a.Apply(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// parsed is what a line becomes; it must not be refused.
func parsed(t testing.TB, c *Config, line string) event.Event {
	t.Helper()
	b := apply(t, open(t, c), event.Event{Message: line})
	if b.Outcome(0) != event.Open {
		t.Fatalf("%q is %v: %v", line, b.Outcome(0), b.Err(0))
	}
	return *b.Event(0)
}

// attributes are those of an event by name, as any.
func attributes(e event.Event) map[string]any {
	all := make(map[string]any, len(e.Attributes))
	for _, a := range e.Attributes {
		all[a.Key] = a.Value.Any()
	}
	return all
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

// reason is why a line is refused.
func reason(t testing.TB, c *Config, line string) string {
	t.Helper()
	b := apply(t, open(t, c), event.Event{Message: line})
	if b.Outcome(0) != event.Refused || stage.ClassOf(b.Err(0)) != stage.BadEvent {
		t.Fatalf("%q is %v: %v", line, b.Outcome(0), b.Err(0))
	}
	return b.Err(0).Error()
}
