// Package services starts a Kafka and a PostgreSQL of a test's own, so that a
// test which stops them disturbs no other. For tests; it uses the scripts in
// deploy/local and what `make services-up` installed.
package services

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"millrace/internal/ports"
)

// service is one of the scripts with a directory and a port of its own.
type service struct {
	t      testing.TB
	script string
	env    []string
	port   int
}

// Kafka is a broker of its own.
type Kafka struct{ service }

// NewKafka prepares a broker; nothing is started yet.
func NewKafka(t testing.TB) *Kafka {
	t.Helper()
	home, port := newHome(t), ports.Block(t, 4) // for plain, control, login and certificates
	if err := os.Symlink(filepath.Join(root(), ".services", "kafka-lib"), filepath.Join(home, "kafka-lib")); err != nil {
		t.Fatal(err)
	}
	k := &Kafka{service{t, "kafka.sh", env(home, "KAFKA_PORT", port), port}}
	t.Cleanup(func() { k.do("kill") })
	return k
}

// Brokers is its address, also while it is down.
func (k *Kafka) Brokers() string { return fmt.Sprintf("127.0.0.1:%d", k.port) }

// Postgres is a database server of its own.
type Postgres struct{ service }

// NewPostgres prepares a server; nothing is started yet.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	port := ports.One(t)
	p := &Postgres{service{t, "postgres.sh", env(newHome(t), "POSTGRES_PORT", port), port}}
	t.Cleanup(func() { p.do("kill") })
	return p
}

// DSN is its address, also while it is down.
func (p *Postgres) DSN() string {
	return fmt.Sprintf("postgres://millrace:millrace@127.0.0.1:%d/postgres?sslmode=disable", p.port)
}

// Start starts the service and returns when it answers.
func (s *service) Start() { s.t.Helper(); s.do("start") }

// Stop stops it as its operator would.
func (s *service) Stop() { s.t.Helper(); s.do("stop") }

func (s *service) do(what string) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(root(), "deploy", "local", s.script), what)
	cmd.Env = append(os.Environ(), s.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", s.script, what, err, out)
	}
}

func env(home, portName string, port int) []string {
	return []string{"SERVICES_DIR=" + home, portName + "=" + strconv.Itoa(port)}
}

// newHome is a directory that PostgreSQL, which runs as somebody else, can get
// through.
func newHome(t testing.TB) string {
	t.Helper()
	home, err := os.MkdirTemp("", "millrace-services-")
	if err == nil {
		err = os.Chmod(home, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	return home
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// NewDatabase makes a database of the test's own on the server at dsn, and
// returns its address.
func NewDatabase(t testing.TB, dsn, name string) string {
	t.Helper()
	exec := func(statement string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = db.ExecContext(ctx, statement)
		return err
	}
	if err := exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("making a database on the server of DATABASE_URL: %v", err)
	}
	t.Cleanup(func() {
		if err := exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
