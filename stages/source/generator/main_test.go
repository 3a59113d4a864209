package generator

import (
	"context"
	"errors"
	goflag "flag"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// config is the default configuration with changes.
func config(change ...func(*Config)) *Config {
	c := Stage.New().(*Config)
	for _, f := range change {
		f(c)
	}
	return c
}

// settings are what the engine would pass in; mux is where the API is mounted.
func settings(mux *http.ServeMux) stage.Settings {
	return stage.Settings{
		Pipeline: "p", Folder: os.TempDir(), Route: "r", Name: "generator", Instance: "host-1",
		Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
		Mount: func(path string, h http.Handler) error { mux.Handle(path, h); return nil },
	}
}

func open(t *testing.T, c *Config) *reader {
	t.Helper()
	r, err := c.Open(context.Background(), settings(http.NewServeMux()))
	if err != nil {
		t.Fatal(err)
	}
	return r.(*reader)
}

// copied is the events in memory of their own.
func copied(events []event.Event) []event.Event {
	out := make([]event.Event, len(events))
	for i, e := range events {
		e.Source, e.Host, e.Message = own(e.Source), own(e.Host), own(e.Message)
		e.CorrelationID, e.TraceID, e.SpanID = own(e.CorrelationID), own(e.TraceID), own(e.SpanID)
		attributes := make([]event.Attribute, len(e.Attributes))
		for j, a := range e.Attributes {
			if a.Value.Kind() == event.KindString {
				a.Value = event.String(own(a.Value.Str()))
			}
			attributes[j] = a
		}
		e.Attributes = attributes
		out[i] = e
	}
	return out
}

func own(s string) string { return string([]byte(s)) }

// delivered is the receipt of n delivered events.
func delivered(n int) (r event.Receipt) {
	r.Counts[event.Delivered] = n
	return r
}

// readAll reads until the input ends or ctx does, delivering everything, and
// returns copies.
func readAll(t *testing.T, ctx context.Context, r *reader) []event.Event {
	t.Helper()
	var all []event.Event
	for {
		p, err := r.Read(ctx)
		if errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, copied(p.Events)...)
		p.Done(delivered(len(p.Events)))
	}
}

// pass lets time go by in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// fewer checks than rapid's hundred are made of a property whose every check
// takes long, unless the command line asks for another number.
func fewer(t *testing.T, checks string) {
	f := goflag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != f.DefValue {
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) })
}
