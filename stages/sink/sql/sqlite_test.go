package sql

import (
	stdsql "database/sql"
	"path/filepath"
	"testing"
)

// sqlitePlace is a SQLite file of the test's own.
func sqlitePlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	reads, err := stdsql.Open("sqlite", filepath.Join(dir, "audit.db")+"?_pragma=busy_timeout(5000)")
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
