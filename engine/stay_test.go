package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// said is what a run logs.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) lines(with string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		if strings.Contains(line, with) {
			found = append(found, line)
		}
	}
	return found
}

// startSaying is start with a log that can be read.
func (w *world) startSaying(yaml string) *said {
	w.t.Helper()
	log := &said{}
	e, err := engine.New(w.t.Context(), w.load(yaml), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.result <- e.Run(ctx) }()
	return log
}

// once is a source that cannot bring its events again.
type onceSource struct{ *stagetest.SourceConfig }

func (onceSource) Explain() stage.Explanation { return stage.Explanation{Forgets: true} }

func TestADrainThatTakesItsTimeSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		once := stagetest.NewSource("once")
		w := newWorld(t, sorterStage, stage.Stage{
			Name: "once", Kind: stage.KindSource, New: func() any { return &onceSource{once.Stage().New().(*stagetest.SourceConfig)} },
		})
		release := w.sinks["out1"].Hold()
		log := w.startSaying(`
drain_timeout: 20s
routes:
  kept: {source: {in1: {}}, batch: {linger: 1ms}, middleware: [sorter], sink: {route: last}}
  gone: {source: {once: {}}, batch: {size: 2, linger: 1ms, in_flight: 1}, middleware: [sorter], sink: {broadcast: [{out1: {}}, {out2: {}}]}}
  last: {batch: {linger: 1ms}, sink: {out1: {}}}
`)
		w.sources["in1"].SendEvents("a", "b", "c")
		once.SendEvents("d", "e", "f")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		w.cancel()
		time.Sleep(900 * time.Millisecond)
		if got := log.lines("still stopping"); len(got) > 0 {
			t.Errorf("a short drain says %q", got)
		}
		time.Sleep(time.Second)
		until := time.Now().Add(20*time.Second - 1900*time.Millisecond).Format(time.TimeOnly)
		for _, want := range []string{
			`route=kept in_flight=3 held_by="route last 3" until=` + until + ` then="they are given back to in1, and come again"`,
			`route=gone in_flight=3 held_by="out1 2, the queue 1" until=` + until + ` then="they are gone: once cannot bring them again"`,
			`route=last in_flight=3 held_by="out1 3" until=` + until + ` then="they are given back to the routes that feed this one"`,
		} {
			if got := log.lines("still stopping"); !strings.Contains(strings.Join(got, ""), want) {
				t.Errorf("says %q, want %s", got, want)
			}
		}
		time.Sleep(10 * time.Second)
		if got := len(log.lines("still stopping")); got != 6 {
			t.Errorf("after 12 s it has said %d lines", got)
		}
		release()
		if err := w.wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestADrainThatEmptiesASpoolSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		log := w.startSaying("drain_timeout: 5s\nroutes:\n  r: {source: {in1: {}}, batch: {linger: 1ms}, spool: {}, sink: {out1: {}}}\n")
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.cancel()
		time.Sleep(2 * time.Second)
		if got := strings.Join(log.lines("the spool is being emptied"), ""); !strings.Contains(got, "events=3") {
			t.Errorf("says %q", got)
		}
		w.engine.Abort()
		if err := w.wait(); err != nil && !errors.As(err, new(*engine.NotDrainedError)) {
			t.Error(err)
		}
	})
}
