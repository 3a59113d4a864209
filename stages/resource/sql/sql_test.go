package sql

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func config(dsn string) *Config {
	c := Stage.New().(*Config)
	c.Dsn = stage.Secret(dsn)
	return c
}

func TestValidate(t *testing.T) {
	for _, test := range []struct{ name, dsn, says string }{
		{"Postgres", "postgres://user:password@db.example:5432/audit", ""},
		{"Postgres by its long name, with parameters", "postgresql://user@db/audit?sslmode=require", ""},
		{"several Postgres hosts", "postgres://user:password@db1:5432,db2:5432/audit?target_session_attrs=read-write", ""},
		{"an escaped password", "postgres://user:p%40ss%2Fword@db/audit", ""},
		{"a file", "sqlite:audit.db", ""},
		{"a file elsewhere", "sqlite:/var/lib/millrace/audit.db", ""},
		{"nothing", "", "is required"},
		{"no scheme", "audit.db", "postgres://"},
		{"another database", "mysql://user:geheim@db/audit", "mysql is not supported"},
		{"no slashes", "postgres:user:geheim@db", "// is missing"},
		{"an @ in the password", "postgres://user:ge@heim@db/audit", "%40"},
		{"a / in the password", "postgres://user:ge/heim@db/audit", "%2F"},
		{"a % in the password", "postgres://user:geheim%zz@db/audit", "%25"},
		{"a bad mode of encryption", "postgres://user:geheim@db/audit?sslmode=perhaps", "sslmode"},
		{"memory", "sqlite::memory:", "not supported"},
		{"no file", "sqlite:", "names no file"},
		{"a file as a URL", "sqlite://audit.db", "ambiguous"},
		{"a file with parameters", "sqlite:audit.db?mode=ro", "without parameters"},
		{"a directory", "sqlite:data/", "not a directory"},
	} {
		var p stage.Problems
		config(test.dsn).Validate(&p)
		switch {
		case test.says == "" && len(p.Found) != 0:
			t.Errorf("%s: %v", test.name, p.Found)
		case test.says != "" && (len(p.Found) != 1 || p.Found[0].Key != "dsn" || !strings.Contains(p.Found[0].Text, test.says)):
			t.Errorf("%s: want one problem at dsn that says %q, got %v", test.name, test.says, p.Found)
		}
		if found := fmt.Sprint(p.Found); strings.Contains(found, "geheim") || strings.Contains(found, "heim") {
			t.Errorf("%s: the password is shown: %s", test.name, found)
		}
	}
}

func TestValidateBounds(t *testing.T) {
	c := config("sqlite:audit.db")
	c.Pool, c.ConnectTimeout = 0, -1
	var p stage.Problems
	c.Validate(&p)
	if len(p.Found) != 2 || p.Found[0].Key != "pool" || p.Found[1].Key != "connect_timeout" {
		t.Errorf("want problems at pool and connect_timeout, got %v", p.Found)
	}
}

// However a dsn with a password is broken, what comes out never shows it.
func FuzzPasswordNeverShown(f *testing.F) {
	for _, seed := range [][3]string{{"user", "", "db:5432/audit"}, {"user", "%zz", "db"}, {"user", "/x", "db"}, {"", "@", "db"},
		{"a/b", "", ""}, {"user", "?", "db?sslmode=x"}, {"user", "", "[::1"}, {"user", "#", ":port/d"}, {"user", "", "db/d?password=%zz"}, {"/", "", "%"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	const password = "Zq7vGx"
	f.Fuzz(func(t *testing.T, user, more, rest string) {
		if strings.Contains(user+more+rest, password) {
			return // not a password, then
		}
		c := config("postgres://" + user + ":" + password + more + "@" + rest)
		var p stage.Problems
		c.Validate(&p)
		if shown := fmt.Sprint(p.Found, c); strings.Contains(shown, password) {
			t.Errorf("%q: %s", c.Dsn.Reveal(), shown)
		}
	})
}

func open(t *testing.T, c *Config, log io.Writer) (*Database, *prometheus.Registry, error) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	opened, err := c.Open(t.Context(), stage.Settings{
		Pipeline: "test", Name: "database", Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: metrics, Clock: stage.SystemClock, StateDir: t.TempDir(),
	})
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened.(*Database), metrics, nil
}

func TestSQLiteSaysWhatItIsAndWhatReplacesIt(t *testing.T) {
	var log bytes.Buffer
	db, _, err := open(t, config("sqlite:audit.db"), &log)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("want one line, got %d", lines)
	}
	for _, want := range []string{"SQLite", "audit.db", "resources.database.dsn", "postgres://"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("want %q in the log line: %s", want, log.String())
		}
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "1000"} {
		var got string
		if err := db.SQLite.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("PRAGMA %s is %s (%v), want %s", pragma, got, err, want)
		}
	}
}

func TestSQLiteFileIsForItsOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.db")
	if _, _, err := open(t, config("sqlite:"+file), io.Discard); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestSQLiteFileThatCannotBeNeedsAPerson(t *testing.T) {
	notADatabase := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(notADatabase, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(t.TempDir(), "missing", "audit.db"), t.TempDir(), notADatabase} {
		_, _, err := open(t, config("sqlite:"+file), io.Discard)
		if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: want an error for a person that names the file, got %v", file, err)
		}
	}
}

func TestPostgresOpensWithoutTheServer(t *testing.T) {
	var log bytes.Buffer
	db, metrics, err := open(t, config("postgres://user:geheim@127.0.0.1:1/audit"), &log)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Probe(t.Context())
	if stage.ClassOf(err) != stage.Retryable {
		t.Errorf("want weather from a probe of a server that is away, got %v", err)
	}
	if text := fmt.Sprint(err, db, log.String()); strings.Contains(text, "geheim") || strings.Contains(err.Error(), "\n") {
		t.Errorf("want one line without the password, got %q", text)
	}
	if text := err.Error(); strings.Count(text, "127.0.0.1:1") != 1 || strings.Count(text, "refused") != 1 {
		t.Errorf("want what was tried once, got %q", text)
	}
	families, err := metrics.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "sql_pool_connections" {
		t.Fatalf("want sql_pool_connections, got %v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		if state := m.GetLabel()[0].GetValue(); state == "max" && m.GetGauge().GetValue() != 20 {
			t.Errorf("want at most 20 connections, got %v", m.GetGauge().GetValue())
		}
	}
	if len(families[0].GetMetric()) != 4 {
		t.Errorf("want 4 states, got %v", families[0].GetMetric())
	}
}

func TestExplainTellsTheKindsApart(t *testing.T) {
	lite, pg := config("sqlite:audit.db").Explain(), config("postgres://db/audit").Explain()
	if !strings.Contains(lite.Crash, "power") || !strings.Contains(pg.Does, "PostgreSQL") {
		t.Errorf("got %v and %v", lite, pg)
	}
}

func TestClassify(t *testing.T) {
	pg := func(code string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "ERROR", Code: code, Message: "message", Detail: "Failing row contains (secret).", ColumnName: "level"})
	}
	for _, test := range []struct {
		name string
		err  error
		want stage.Class
	}{
		{"nothing", nil, stage.OK},
		{"a stop", fmt.Errorf("x: %w", context.Canceled), stage.Stopped},
		{"a deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), stage.Retryable},
		{"already judged", stage.Bad(pg("40001")), stage.BadEvent},
		{"a refused connection", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, stage.Retryable},
		{"an untrusted certificate", &tls.CertificateVerificationError{Err: errors.New("unknown authority")}, stage.Unfixable},
		{"connection failure", pg("08006"), stage.Retryable},
		{"serialization failure", pg("40001"), stage.Retryable},
		{"deadlock", pg("40P01"), stage.Retryable},
		{"disk full", pg("53100"), stage.Retryable},
		{"too many connections", pg("53300"), stage.Retryable},
		{"lock not available", pg("55P03"), stage.Retryable},
		{"statement timeout", pg("57014"), stage.Retryable},
		{"shutdown", pg("57P01"), stage.Retryable},
		{"starting up", pg("57P03"), stage.Retryable},
		{"a standby", pg("25006"), stage.Retryable},
		{"internal error", pg("XX000"), stage.Retryable},
		{"no code", pg(""), stage.Retryable},
		{"value too long", pg("22001"), stage.BadEvent},
		{"NUL", pg("22021"), stage.BadEvent},
		{"check", pg("23514"), stage.BadEvent},
		{"too long for an index", pg("54000"), stage.BadEvent},
		{"wrong password", pg("28P01"), stage.Unfixable},
		{"no such database", pg("3D000"), stage.Unfixable},
		{"no such schema", pg("3F000"), stage.Unfixable},
		{"no such table", pg("42P01"), stage.Unfixable},
		{"no right", pg("42501"), stage.Unfixable},
	} {
		got := Classify(test.err)
		if stage.ClassOf(got) != test.want {
			t.Errorf("%s: %v, want %v", test.name, stage.ClassOf(got), test.want)
		}
		if got != nil && strings.Contains(got.Error(), "secret") {
			t.Errorf("%s: the values are shown: %v", test.name, got)
		}
		if !errors.Is(got, test.err) {
			t.Errorf("%s: the cause is lost", test.name)
		}
	}
}

func TestAConnectErrorSaysEachReasonOnce(t *testing.T) {
	for said, want := range map[string]string{
		"failed to connect to `user=u database=x`:\n\t127.0.0.1:1 (localhost): dial error: dial tcp 127.0.0.1:1: refused\n\t127.0.0.1:1 (localhost): dial error: dial tcp 127.0.0.1:1: refused": "failed to connect to `user=u database=x`: dial tcp 127.0.0.1:1: refused",
		"failed to connect to `user=u database=x`:\n\thostname resolving error: lookup nohost: no such host\n\tlookup nohost: no such host":                                                     "failed to connect to `user=u database=x`: lookup nohost: no such host",
		"failed to connect to `user=u database=x`:\n\t[::1]:1 (localhost): dial error: dial tcp [::1]:1: refused\n\t10.0.0.1:1 (db): server error: full":                                        "failed to connect to `user=u database=x`: dial tcp [::1]:1: refused; 10.0.0.1:1 (db): server error: full",
		"begin: failed to connect to `user=u database=x`: 10.0.0.1:1 (db): dial error: timeout":                                                                                                 "begin: failed to connect to `user=u database=x`: 10.0.0.1:1 (db): dial error: timeout",
		"unexpected EOF": "unexpected EOF",
	} {
		if got := Classify(errors.New(said)).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestClassifySQLite(t *testing.T) {
	db, _, err := open(t, config("sqlite:audit.db"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, setUp := range []string{"CREATE TABLE t (a TEXT NOT NULL, b INTEGER CHECK (b > 0))", "CREATE TABLE s (a INTEGER) STRICT"} {
		if _, err := db.SQLite.Exec(setUp); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]stage.Class{
		"INSERT INTO t VALUES (NULL, 1)":  stage.BadEvent,
		"INSERT INTO t VALUES ('x', 0)":   stage.BadEvent,
		"INSERT INTO s VALUES ('x')":      stage.BadEvent,
		"INSERT INTO missing VALUES (1)":  stage.Unfixable,
		"INSERT INTO t (c) VALUES ('x')":  stage.Unfixable,
		"INSERT INTO t VALUES ('fine',1)": stage.OK,
	} {
		_, err := db.SQLite.Exec(query)
		if got := stage.ClassOf(Classify(err)); got != want {
			t.Errorf("%s: %v (%v), want %v", query, got, err, want)
		}
	}
	other, err := db.SQLite.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	_, err = other.ExecContext(t.Context(), "INSERT INTO t VALUES ('x', 1)")
	if got := stage.ClassOf(Classify(err)); got != stage.Unfixable {
		t.Errorf("a read-only database: %v (%v)", got, err)
	}
}
