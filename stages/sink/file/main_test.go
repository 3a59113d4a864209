package file

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// still is a clock that stands still until it is moved.
type still struct {
	stage.Clock
	at time.Time
}

func (c *still) Now() time.Time { return c.at }

func (c *still) Sleep(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func settings(clock stage.Clock) stage.Settings {
	return stage.Settings{Log: slog.New(slog.DiscardHandler), Clock: clock}
}

// config is a Config with the defaults, for a file in a folder of the test.
func config(t testing.TB) *Config {
	t.Helper()
	c := Stage.New().(*Config)
	c.Path = filepath.Join(t.TempDir(), "out", "events.log")
	c.Format = formatMessage
	return c
}

func open(t testing.TB, c *Config, clock stage.Clock) *writer {
	t.Helper()
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	w, err := c.Open(t.Context(), settings(clock))
	if err != nil {
		t.Fatal(err)
	}
	return w.(*writer)
}

func closed(t testing.TB, w *writer) {
	t.Helper()
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func batch(messages ...string) *event.Batch {
	events := make([]event.Event, len(messages))
	for i, m := range messages {
		events[i].Message = m
	}
	return event.NewBatch(events)
}

func write(t testing.TB, w *writer, messages ...string) {
	t.Helper()
	if err := w.Write(t.Context(), batch(messages...)); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// names are the files in the folder of the file, in order.
func names(t testing.TB, c *Config) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(c.Path))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return all
}

func wantNames(t testing.TB, c *Config, want ...string) {
	t.Helper()
	if got := names(t, c); !slices.Equal(got, want) {
		t.Errorf("the folder holds %s, want %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}
