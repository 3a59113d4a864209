package stagetest

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite" // the state database

	"millrace/engine/stage"
)

// Settings is what an engine would hand to an Open, for the length of a test:
//
//   - Log writes to the test's log,
//   - Metrics is a *prometheus.Registry of its own (see Registry),
//   - Clock is the system's,
//   - StateDir is a temporary folder and State a SQLite database in it,
//   - Mount serves on a Server of its own,
//   - Resource knows those given by WithResource.
//
// The options change it; they are run in order.
func Settings(t T, options ...func(*stage.Settings)) stage.Settings {
	t.Helper()
	dir := t.TempDir()
	s := stage.Settings{
		Pipeline: "test",
		Route:    "route",
		Name:     "stage",
		Instance: "test-1",
		Step:     1,
		Log:      slog.New(slog.NewTextHandler(newTestLog(t), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics:  prometheus.NewRegistry(),
		Clock:    stage.SystemClock,
		State:    openState(t, dir),
		StateDir: dir,
		Resource: func(name string) (any, error) { return nil, fmt.Errorf("no resource %q", name) },
	}
	for _, option := range options {
		option(&s)
	}
	if s.Mount == nil {
		s.Mount = NewServer(t).Mount
	}
	return s
}

// WithResource lets the stage find an opened resource by a name.
func WithResource(name string, opened any) func(*stage.Settings) {
	return func(s *stage.Settings) {
		others := s.Resource
		s.Resource = func(asked string) (any, error) {
			if asked == name {
				return opened, nil
			}
			return others(asked)
		}
	}
}

// WithClock gives the stage a clock.
func WithClock(c stage.Clock) func(*stage.Settings) {
	return func(s *stage.Settings) { s.Clock = c }
}

// WithServer lets the stage mount its paths on a server of the test.
func WithServer(server *Server) func(*stage.Settings) {
	return func(s *stage.Settings) { s.Mount = server.Mount }
}

// Registry is where the metrics of these Settings are registered.
func Registry(s stage.Settings) *prometheus.Registry { return s.Metrics.(*prometheus.Registry) }

func openState(t T, dir string) *sql.DB {
	t.Helper()
	// The folder of a test that has the name of another holds a #, which ends the
	// path of a URL that is put together by hand: the file was the same for all.
	file := url.URL{Scheme: "file", Path: filepath.Join(dir, "state.db"),
		RawQuery: "_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_txlock=immediate"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		t.Fatalf("opening the state database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the state database: %v", err)
		}
	})
	return db
}

// testLog writes lines to the test's log while the test runs; the testing
// package would panic at a later line.
type testLog struct {
	mu sync.Mutex
	t  T
}

func newTestLog(t T) *testLog {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t = nil
	})
	return l
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Logf("%s", bytes.TrimRight(line, "\n"))
	}
	return len(line), nil
}
