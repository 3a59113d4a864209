//go:build real

package sql

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"testing"

	stdsql "database/sql"

	_ "github.com/jackc/pgx/v5/stdlib"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// postgresPlace is a schema of the test's own in the database at DATABASE_URL.
func postgresPlace(t testing.TB) *place {
	t.Helper()
	dsn := os.Getenv("DATABASE_URL")
	if !strings.HasPrefix(dsn, "postgres") {
		t.Fatal("DATABASE_URL must name a Postgres database for these tests, such as postgres://user:password@127.0.0.1:5432/postgres")
	}
	reads, err := stdsql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprintf("millrace_test_%08x", rand.Uint32())
	p := &place{
		dsn: dsn, dir: t.TempDir(), reads: reads,
		table: func(name string) string { return schema + "." + name },
		sql:   quoted,
	}
	t.Cleanup(func() {
		p.exec(t, "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
		_ = reads.Close()
	})
	return p
}

func TestPostgres(t *testing.T) { suite(t, postgresPlace) }

// A pooler between engine and server may not keep prepared statements.
func TestWithoutPreparedStatements(t *testing.T) {
	suite(t, func(t testing.TB) *place {
		p := postgresPlace(t)
		p.dsn = withParameter(t, p.dsn, "default_query_exec_mode", "exec")
		return p
	})
}

func withParameter(t testing.TB, dsn, key, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// openAs tries to open the sink with other credentials.
func openAs(t *testing.T, user, password string) error {
	t.Helper()
	p := postgresPlace(t)
	u, err := url.Parse(p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	if user == "" {
		user = u.User.Username()
	}
	u.User = url.UserPassword(user, password)
	_, err = p.config(nil).Open(t.Context(), settings(p.dir, p.resource(t, u.String(), 1)))
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("the password is in the error: %v", err)
	}
	return err
}

func TestUnknownUserNeedsAPerson(t *testing.T) {
	err := openAs(t, "no_such_user", "not-the-pass-word")
	wantClass(t, err, stage.Unfixable)
	if !strings.Contains(err.Error(), "(28") || !strings.Contains(err.Error(), "dsn") {
		t.Errorf("want the code and the key in: %v", err)
	}
}

// A server that trusts its own machine does not look at passwords.
func TestWrongPasswordNeedsAPerson(t *testing.T) {
	if err := openAs(t, "", "not-the-pass-word"); err != nil {
		wantClass(t, err, stage.Unfixable)
		if !strings.Contains(err.Error(), "28P01") {
			t.Errorf("want the code in: %v", err)
		}
	}
}

func TestMissingDatabaseNeedsAPerson(t *testing.T) {
	p := postgresPlace(t)
	u, err := url.Parse(p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/no_such_database"
	p.dsn = u.String()
	wantClass(t, p.openErr(t, p.config(nil)), stage.Unfixable)
}

func TestServerAwayAtOpenIsWeather(t *testing.T) {
	p := postgresPlace(t)
	p.dsn = "postgres://user:geheim@127.0.0.1:1/postgres"
	err := p.openErr(t, p.config(nil))
	wantClass(t, err, stage.Retryable)
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("want one line without the password, got %q", err)
	}
}

func TestColumnsHaveTheirTypes(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	p.open(t, c)
	for column, want := range map[string]string{
		"event_id": "uuid", "timestamp": "timestamp with time zone", "message": "text", "metadata": "jsonb", "processed_at": "timestamp with time zone",
	} {
		var got string
		schema, table, _ := strings.Cut(c.Table, ".")
		err := p.reads.QueryRow("SELECT data_type FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 AND column_name = $3",
			schema, table, column).Scan(&got)
		if err != nil || got != want {
			t.Errorf("column %s is %q (%v), want %s", column, got, err, want)
		}
	}
}

func TestTableWithoutKeyNeedsAPerson(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	p.open(t, c)
	_, table, _ := strings.Cut(c.Table, ".")
	p.exec(t, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s_pkey", p.sql(c.Table), table))
	err := p.openErr(t, c)
	wantClass(t, err, stage.Unfixable)
	if !strings.Contains(err.Error(), "42P10") {
		t.Errorf("want the missing key named, got %v", err)
	}
}

func TestForeignMandatoryColumnNeedsAPerson(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	p.open(t, c)
	p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" ADD COLUMN tenant text NOT NULL")
	err := p.openErr(t, c)
	wantClass(t, err, stage.Unfixable)
	if !strings.Contains(err.Error(), "tenant") {
		t.Errorf("want the column named, got %v", err)
	}
	p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" ALTER COLUMN tenant SET DEFAULT 'none'")
	write(t, p.open(t, c), some(2)...)
}

// Postgres names the partition, not the table, where a row is there already.
func TestAttributesThatOutlivedTheirEventInAPartitionedTableDoNoHarm(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(p.withAttributes)
	p.open(t, c)
	attributes := p.sql(c.AttributesTable)
	p.exec(t, "DROP TABLE "+attributes)
	p.exec(t, "CREATE TABLE "+attributes+" (event_id uuid NOT NULL, key text NOT NULL, value text, type text, "+
		"PRIMARY KEY (event_id, key)) PARTITION BY HASH (event_id)")
	for i := range 2 {
		p.exec(t, fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)",
			p.sql(p.table(fmt.Sprint("part", i))), attributes, i))
	}
	w, events := p.open(t, c), some(20)
	write(t, w, events...)
	p.exec(t, "DELETE FROM "+p.sql(c.Table))
	write(t, w, events...)
	if p.rows(t, c.Table) != 20 || p.rows(t, c.AttributesTable) != 80 {
		t.Errorf("want 20 rows and 80 attributes, got %d and %d", p.rows(t, c.Table), p.rows(t, c.AttributesTable))
	}
}

// Another rule of the table that events break is no matter of their attributes.
func TestAnEventThatAnotherUniqueIndexForbidsIsBad(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(p.withAttributes)
	w, events := p.open(t, c), some(2)
	p.exec(t, "CREATE UNIQUE INDEX ON "+p.sql(c.Table)+" (message)")
	events[1].Message = events[0].Message
	wantClass(t, w.Write(t.Context(), event.NewBatch(events)), stage.BadEvent)
	if p.rows(t, c.Table) != 0 || p.rows(t, c.AttributesTable) != 0 {
		t.Error("a part of the batch was written")
	}
}

func TestTableDroppedDuringTheRunParks(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	w := p.open(t, c)
	write(t, w, some(2)...)
	p.exec(t, "DROP TABLE "+p.sql(c.Table))
	wantClass(t, w.Write(t.Context(), event.NewBatch(some(2))), stage.Unfixable)
}

// An indexed value may be too long for the index: that is the event's fault,
// and trying again for ever would stop the route.
func TestTextTooLongForTheIndexIsBad(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	w, events := p.open(t, c), some(2)
	var long strings.Builder
	for long.Len() < 20000 { // random, since Postgres compresses
		fmt.Fprintf(&long, "%x", rand.Uint64())
	}
	events[1].Source = long.String()
	wantClass(t, w.Write(t.Context(), event.NewBatch(events)), stage.BadEvent)
}

// Somebody forgot the statements (DISCARD ALL, a failover of a pooler): one
// attempt fails, and the next prepares them again.
func TestForgottenStatementsCostOneAttempt(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(nil)
	db := p.resource(t, p.dsn, 1)
	w, err := c.Open(t.Context(), settings(p.dir, db))
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, some(2)...)
	if _, err := db.Postgres.Exec(t.Context(), "DEALLOCATE ALL"); err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(some(2))
	wantClass(t, w.Write(t.Context(), b), stage.Retryable)
	if err := w.Write(t.Context(), b); err != nil || p.rows(t, c.Table) != 4 {
		t.Errorf("second attempt: %v, %d rows", err, p.rows(t, c.Table))
	}
}

// The server closes all connections, as in a restart.
func TestKilledConnectionsCostOneAttemptEach(t *testing.T) {
	p := postgresPlace(t)
	c := p.config(p.withAttributes)
	p.dsn = withParameter(t, p.dsn, "application_name", "millrace_kill_"+strings.ReplaceAll(c.Table, ".", "_"))
	w := p.open(t, c)
	b := event.NewBatch(some(50))
	write(t, w, some(50)...)
	p.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()",
		"millrace_kill_"+strings.ReplaceAll(c.Table, ".", "_"))
	for attempt := 0; ; attempt++ {
		err := w.Write(t.Context(), b)
		if err == nil {
			break
		}
		wantClass(t, err, stage.Retryable)
		if attempt == 4 { // one attempt for each connection of the pool
			t.Fatalf("still failing: %v", err)
		}
	}
	if p.rows(t, c.Table) != 100 || p.rows(t, c.AttributesTable) != 400 {
		t.Errorf("want 100 rows and 400 attributes, got %d and %d", p.rows(t, c.Table), p.rows(t, c.AttributesTable))
	}
}
