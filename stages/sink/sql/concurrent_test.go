package sql

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func testConcurrent(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	w, events := p.open(t, c), some(400)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for from := 0; from < 400; from += 50 {
				part := append([]event.Event(nil), events[from:from+50]...)
				if i%2 == 1 { // the other way round, which must not become a deadlock
					for a, z := 0, len(part)-1; a < z; a, z = a+1, z-1 {
						part[a], part[z] = part[z], part[a]
					}
				}
				b := event.NewBatch(part)
				for attempt := 0; ; attempt++ {
					err := w.Write(t.Context(), b)
					if err == nil {
						break
					}
					if stage.ClassOf(err) != stage.Retryable || attempt == 50 {
						t.Errorf("writer %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	if p.rows(t, c.Table) != 400 || p.rows(t, c.AttributesTable) != 1600 {
		t.Errorf("want 400 rows and 1600 attributes, got %d and %d", p.rows(t, c.Table), p.rows(t, c.AttributesTable))
	}
	status := w.(stage.Statuser).Status()
	if status["rows_inserted"] != int64(400) || status["rows_duplicate"] != int64(2800) {
		t.Errorf("want 400 inserted and 2800 duplicates counted, got %v", status)
	}
}

func testConcurrentOpen(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	var opens sync.WaitGroup
	for range 6 {
		db := p.resource(t, p.dsn, 2)
		opens.Go(func() {
			w, err := c.Open(t.Context(), settings(p.dir, db))
			for stage.ClassOf(err) == stage.Retryable { // as the engine does
				w, err = c.Open(t.Context(), settings(p.dir, db))
			}
			if err != nil {
				t.Errorf("one of six engines could not open: %v", err)
				return
			}
			_ = w.Close(t.Context())
		})
	}
	opens.Wait()
}

func testStopped(t *testing.T, p *place) {
	c := p.config(nil)
	w := p.open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantClass(t, w.Write(ctx, event.NewBatch(some(5))), stage.Stopped)
	if got := p.rows(t, c.Table); got != 0 {
		t.Errorf("a stopped write left %d rows", got)
	}
	write(t, w, some(5)...)
}

func testTimeout(t *testing.T, p *place) {
	c := p.config(nil)
	p.open(t, c)
	c.WriteTimeout = stage.Duration(50 * time.Millisecond)
	w := p.open(t, p.config(func(slow *Config) { slow.Table = c.Table }))
	switch impatient := w.(type) { // the short timeout is for the write, not for the open
	case *postgresWriter:
		impatient.Config = c
	case *sqliteWriter:
		impatient.Config = c
	}
	lock, err := p.reads.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	statement := "UPDATE " + p.sql(c.Table) + " SET message = message" // takes SQLite's write lock
	if strings.HasPrefix(p.dsn, "postgres") {
		statement = "LOCK TABLE " + p.sql(c.Table)
	}
	if _, err := lock.Exec(statement); err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(some(5))
	wantClass(t, w.Write(t.Context(), b), stage.Retryable)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	c.WriteTimeout = stage.Duration(5 * time.Minute)
	if err := w.Write(t.Context(), b); err != nil || p.rows(t, c.Table) != 5 {
		t.Errorf("after the lock was gone: %v, %d rows", err, p.rows(t, c.Table))
	}
}
