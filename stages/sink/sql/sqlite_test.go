package sql

import (
	"os"
	"time"

	stdsql "database/sql"
	"path/filepath"
	"testing"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// sqlitePlace is a SQLite file of the test's own.
func sqlitePlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	reads, err := stdsql.Open("sqlite", filepath.Join(dir, "audit.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reads.Close() })
	return &place{
		dsn: "sqlite:audit.db", dir: dir, reads: reads,
		table: func(name string) string { return name },
		sql:   folded,
	}
}

func TestSQLite(t *testing.T) { suite(t, sqlitePlace) }

// A full disk, as a bound on the file's pages.
func TestSQLiteFullDiskIsWeather(t *testing.T) {
	p := sqlitePlace(t)
	c := p.config(p.withAttributes)
	c.WriteTimeout = stage.Duration(5 * time.Minute) // on a machine that is slow, too
	db := p.resource(t, p.dsn, 1)
	w, err := c.Open(t.Context(), settings(p.dir, db))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	write(t, w, some(1)...)
	set := func(pragma string) {
		t.Helper()
		if _, err := db.SQLite.Exec("PRAGMA " + pragma); err != nil {
			t.Fatal(err)
		}
	}
	set("max_page_count = 20")
	b := event.NewBatch(some(500))
	wantClass(t, w.Write(t.Context(), b), stage.Retryable)
	if got := p.rows(t, c.Table); got != 1 {
		t.Errorf("a write that did not fit left %d rows", got-1)
	}
	set("max_page_count = 1000000")
	if err := w.Write(t.Context(), b); err != nil || p.rows(t, c.Table) != 501 || p.rows(t, c.AttributesTable) != 2004 {
		t.Errorf("with room again: %v, %d rows", err, p.rows(t, c.Table))
	}
}

func TestSQLiteReadOnlyNeedsAPerson(t *testing.T) {
	p := sqlitePlace(t)
	c := p.config(nil)
	db := p.resource(t, p.dsn, 1)
	w, err := c.Open(t.Context(), settings(p.dir, db))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	if _, err := db.SQLite.Exec("PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	wantClass(t, w.Write(t.Context(), event.NewBatch(some(2))), stage.Unfixable)
}

// What Write acknowledged is in the files at that moment: a copy of them is
// what a killed process leaves behind.
func TestSQLiteAcknowledgedRowsAreInTheFiles(t *testing.T) {
	p := sqlitePlace(t)
	c := p.config(p.withAttributes)
	w := p.open(t, c)
	for range 5 {
		write(t, w, some(100)...)
	}
	after := &place{dsn: p.dsn, dir: t.TempDir(), table: p.table, sql: p.sql}
	for _, name := range []string{"audit.db", "audit.db-wal"} {
		content, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(after.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	after.reads = after.resource(t, after.dsn, 1).SQLite
	if after.rows(t, c.Table) != 500 || after.rows(t, c.AttributesTable) != 2000 {
		t.Errorf("want 500 rows and 2000 attributes after the crash, got %d and %d", after.rows(t, c.Table), after.rows(t, c.AttributesTable))
	}
}

func TestSQLiteFoldsTheSchemaIntoTheName(t *testing.T) {
	p := sqlitePlace(t)
	c := p.config(func(c *Config) { c.Table = "audit.log_events" })
	write(t, p.open(t, c), some(3)...)
	if got := p.number(t, "SELECT count(*) FROM audit_log_events"); got != 3 {
		t.Errorf("want 3 rows in audit_log_events, got %d", got)
	}
}

func TestSQLiteTimesSortAndReadAsTimes(t *testing.T) {
	p := sqlitePlace(t)
	c := p.config(nil)
	write(t, p.open(t, c), some(3)...)
	got := p.number(t, `SELECT count(*) FROM log_events WHERE datetime(timestamp) = '2026-11-21 10:30:00'
		AND abs(julianday('now') - julianday(processed_at)) < 1 AND length(processed_at) = length(timestamp)`)
	if got != 3 {
		t.Errorf("want timestamp and processed_at in SQLite's form in 3 rows, got %d", got)
	}
}
