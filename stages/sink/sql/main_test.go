package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	database "millrace/stages/resource/sql"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// place is a database of a test's own, SQLite or Postgres.
type place struct {
	dsn   string
	dir   string
	table func(name string) string // a table name for the Config that no other test uses
	sql   func(table string) string
	reads *stdsql.DB // sees what was committed
}

// resource opens the resource on a place's address, or on another one.
func (p *place) resource(t testing.TB, dsn string, pool int) *database.Database {
	t.Helper()
	c := database.Stage.New().(*database.Config)
	c.Dsn, c.Pool = stage.Secret(dsn), pool
	closer, err := c.Open(t.Context(), settings(p.dir, nil))
	if err != nil {
		t.Fatalf("opening the resource: %v", err)
	}
	t.Cleanup(func() { _ = closer.Close() })
	return closer.(*database.Database)
}

func settings(dir string, db *database.Database) stage.Settings {
	return stage.Settings{
		Pipeline: "test", Route: "audit", Name: "sql", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Clock: stage.SystemClock, StateDir: dir,
		Resource: func(string) (any, error) { return db, nil },
	}
}

// config is a Config with the defaults and a table of the test's own.
func (p *place) config(change func(*Config)) *Config {
	c := Stage.New().(*Config)
	c.Table = p.table("log_events")
	if change != nil {
		change(c)
	}
	return c
}

func (p *place) withAttributes(c *Config) { c.AttributesTable = p.table("log_event_metadata") }

// open opens a writer on a resource of its own.
func (p *place) open(t testing.TB, c *Config) stage.Writer {
	t.Helper()
	w, err := c.Open(t.Context(), settings(p.dir, p.resource(t, p.dsn, 4)))
	if err != nil {
		t.Fatalf("opening the sink: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Errorf("closing the sink: %v", err)
		}
	})
	return w
}

// openErr opens a sink that must not open.
func (p *place) openErr(t testing.TB, c *Config) error {
	t.Helper()
	_, err := c.Open(t.Context(), settings(p.dir, p.resource(t, p.dsn, 4)))
	if err == nil {
		t.Fatal("the sink opened, want an error")
	}
	return err
}

func (p *place) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := p.reads.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// number runs a query that answers one number.
func (p *place) number(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := p.reads.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (p *place) rows(t testing.TB, table string) int {
	t.Helper()
	return p.number(t, "SELECT count(*) FROM "+p.sql(table))
}

// write must succeed and leave no event failed.
func write(t testing.TB, w stage.Writer, events ...event.Event) *event.Batch {
	t.Helper()
	b := event.NewBatch(events)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatalf("writing: %v", err)
	}
	return b
}

func wantClass(t testing.TB, err error, want stage.Class) {
	t.Helper()
	if got := stage.ClassOf(err); got != want {
		t.Fatalf("error is %v, want %v: %v", got, want, err)
	}
}

// some makes events with different ids.
func some(n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{
			ID: uuid.Must(uuid.NewV7()), Time: time.Date(2026, 11, 21, 10, 30, 0, 123456000, time.UTC).Add(time.Duration(i) * time.Millisecond),
			Level: event.LevelInfo, Source: "payments", Host: "host-7", Message: "payment of 12.50 EUR accepted for user 4711 in 23 ms",
			CorrelationID: "c0ffee00-0000-4000-8000-00000000beef", Organisation: "org-3", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7",
			Attributes: []event.Attribute{
				{Key: "thread_id", Value: event.Int(int64(i))}, {Key: "instance_id", Value: event.String("generator-1")},
				{Key: "request_id", Value: event.String("req-0a1b2c3d")}, {Key: "user_id", Value: event.String("user-4711")},
			},
		}
	}
	return events
}

var errNone = errors.New("none")
