package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// world is a pipeline under test with its in-memory ends.
type world struct {
	t         *testing.T
	catalogue []stage.Stage
	sources   map[string]*stagetest.Source
	sinks     map[string]*stagetest.Sink
	engine    *engine.Engine
	result    chan error
	cancel    context.CancelFunc
}

// newWorld makes sources in1 and in2, and sinks out1 and out2.
func newWorld(t *testing.T, more ...stage.Stage) *world {
	w := &world{
		t: t, sources: map[string]*stagetest.Source{}, sinks: map[string]*stagetest.Sink{},
		result: make(chan error, 1), catalogue: more,
	}
	for _, n := range []string{"1", "2"} {
		w.sources["in"+n], w.sinks["out"+n] = stagetest.NewSource("in"+n), stagetest.NewSink("out"+n)
		w.catalogue = append(w.catalogue, w.sources["in"+n].Stage(), w.sinks["out"+n].Stage())
	}
	return w
}

func (w *world) load(yaml string) *config.Pipeline {
	w.t.Helper()
	p, err := config.Parse(w.catalogue, "test.yaml", []byte("pipeline: test\nstate: "+w.t.TempDir()+"\n"+yaml), config.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// start runs a pipeline in the background.
func (w *world) start(yaml string) *world {
	w.t.Helper()
	e, err := engine.New(w.t.Context(), w.load(yaml), slog.New(slog.NewTextHandler(w.t.Output(), nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.result <- e.Run(ctx) }()
	return w
}

// wait waits for the end of the run and checks that all books balance.
func (w *world) wait() error {
	w.t.Helper()
	err := <-w.result
	w.cancel()
	for _, s := range w.engine.Status() {
		if err := s.Page.Check(); err != nil {
			w.t.Errorf("route %s: %v", s.Name, err)
		}
		if s.Page.InFlight != 0 {
			w.t.Errorf("route %s: %d in flight after the end", s.Name, s.Page.InFlight)
		}
	}
	for name, s := range w.sinks {
		if opens, closes := s.Lives(); opens != closes {
			w.t.Errorf("sink %s was opened %d times and closed %d times", name, opens, closes)
		}
	}
	return err
}

func (w *world) stop() error {
	w.cancel()
	return w.wait()
}

func (w *world) books(route string) engine.Books {
	for _, s := range w.engine.Status() {
		if s.Name == route {
			return engine.BooksOf(s.Page)
		}
	}
	w.t.Fatalf("no route %s", route)
	return engine.Books{}
}

func (w *world) state(route string) (engine.State, error) {
	for _, s := range w.engine.Status() {
		if s.Name == route {
			return s.State, s.Reason
		}
	}
	return "", nil
}

const simple = `
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, sink: {out1: {}}}
`

func TestAFiniteSourceIsDeliveredAndTheRunEnds(t *testing.T) {
	w := newWorld(t)
	w.sources["in1"].SendEvents("a", "b", "c")
	w.sources["in1"].End()
	if err := w.start(simple).wait(); err != nil {
		t.Error(err)
	}
	if got := w.books("r"); got != (engine.Books{In: 3, Delivered: 3, Batches: 2}) {
		t.Errorf("books %+v", got)
	}
	if s, _ := w.state("r"); s != engine.Finished {
		t.Errorf("state %s", s)
	}
}

func TestAStopSettlesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := w.sinks["out1"].Hold()
		w.start(simple)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.cancel()
		time.Sleep(10 * time.Second) // within drain_timeout: messages in flight are not cut off
		release()
		if err := w.wait(); err != nil {
			t.Error(err)
		}
		if got := w.books("r"); got.Delivered != 3 || got.Returned != 0 {
			t.Errorf("books %+v", got)
		}
	})
}

func TestWhatCannotBeSettledInTimeIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errors.New("connection refused"))
		w.start("drain_timeout: 3s\n" + simple)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.cancel()
		err := w.wait()
		if cut := new(engine.NotDrainedError); !errors.As(err, &cut) || cut.Routes[0] != "r" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if got := w.books("r"); got.Returned != 3 || w.sources["in1"].Receipts()[0].Settled() {
			t.Errorf("books %+v", got)
		}
	})
}

func TestAbortEndsADrainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].Hold()
		w.start(simple)
		w.sources["in1"].SendEvents("a")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.cancel()
		w.engine.Abort()
		if err := w.wait(); !errors.As(err, new(*engine.NotDrainedError)) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestARouteThatIsFedAnswersForTheEventsItWasGiven(t *testing.T) {
	w := newWorld(t)
	w.sinks["out1"].FailEvents(stagetest.Message("b"), 2, errors.New("busy"))
	w.sources["in1"].SendEvents("a", "b")
	w.sources["in2"].SendEvents("c")
	w.sources["in1"].End()
	w.sources["in2"].End()
	err := w.start(`
routes:
  one: {source: {in1: {}}, sink: {route: both}}
  two: {source: {in2: {}}, sink: {route: both}}
  both: {sink: {out1: {}}}
`).wait()
	if err != nil {
		t.Error(err)
	}
	for route, n := range map[string]int64{"one": 2, "two": 1, "both": 3} {
		if got := w.books(route); got.In != n || got.Delivered != n {
			t.Errorf("books of %s: %+v", route, got)
		}
	}
	if got := len(w.sinks["out1"].Messages()); got != 3 {
		t.Errorf("%d events delivered", got)
	}
}

func TestARouteThatFeedsAnotherGetsBackWhatCannotBeDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errors.New("connection refused"))
		w.start(`
drain_timeout: 1s
routes:
  one: {source: {in1: {}}, sink: {route: two}}
  two: {sink: {out1: {}}}
`)
		w.sources["in1"].SendEvents("a", "b")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); !errors.As(err, new(*engine.NotDrainedError)) {
			t.Error(err)
		}
		if got := w.books("one"); got.Returned != 2 {
			t.Errorf("books %+v", got)
		}
	})
}

func TestARouteThatNeedsAPersonParksAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, 1, stage.Fatal(errors.New("no table log_events")))
		w.start(`
routes:
  broken: {source: {in1: {}}, sink: {out1: {}}}
  fine: {source: {in2: {}}, sink: {out2: {}}}
`)
		w.sources["in1"].SendEvents("a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s, why := w.state("broken"); s != engine.Parked || why == nil || w.engine.Ready() {
			t.Errorf("state %s (%v), ready %v", s, why, w.engine.Ready())
		}
		w.sources["in2"].SendEvents("b")
		if err := w.sinks["out2"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Error(err)
		}
		err := w.stop()
		if parked := new(engine.ParkedError); !errors.As(err, &parked) || parked.Route != "broken" || !strings.Contains(err.Error(), "no table log_events") {
			t.Errorf("error %v", err)
		}
	})
}

func TestASinkThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailOpens(errors.New("connection refused"), errors.New("connection refused"))
		w.start(simple)
		synctest.Wait()
		if s, why := w.state("r"); s != engine.Opening || why == nil || !strings.Contains(why.Error(), "out1: connection refused") {
			t.Errorf("state %s: %v", s, why)
		}
		w.sources["in1"].SendEvents("a")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARunThatIsStoppedWhileItOpensEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 50 {
			w.sinks["out1"].FailOpens(errors.New("connection refused"))
		}
		w.start(simple)
		time.Sleep(time.Minute)
		err := w.stop()
		if away := new(engine.NotStartedError); !errors.As(err, &away) || away.Route != "r" || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAStageThatDoesNotComeBackDoesNotHoldTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, release := make(chan struct{}), make(chan struct{})
		w := newWorld(t, stage.Stage{Name: "hang", Kind: stage.KindSink, New: func() any { return &hanging{stuck, release} }})
		w.start("drain_timeout: 1s\nroutes: {r: {source: {in1: {}}, sink: {hang: {}}}}\n")
		w.sources["in1"].SendEvents("a")
		<-stuck
		w.cancel()
		err := <-w.result
		if lost := new(engine.NotStoppedError); !errors.As(err, &lost) || lost.Routes[0] != "r" {
			t.Errorf("error %v", err)
		}
		close(release) // so that the test can end
		time.Sleep(time.Minute)
		if err := w.engine.Close(); err != nil {
			t.Error(err)
		}
	})
}

// hanging is a sink that ignores its context.
type hanging struct{ stuck, release chan struct{} }

func (h *hanging) Open(context.Context, stage.Settings) (stage.Writer, error) { return h, nil }
func (h *hanging) Close(context.Context) error                                { return nil }

func (h *hanging) Write(context.Context, *event.Batch) error {
	close(h.stuck)
	<-h.release
	return nil
}

func TestARouteThatFeedsAParkedRouteParksToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, 1, stage.Fatal(errors.New("no table")))
		w.start(`
routes:
  one: {source: {in1: {}}, sink: {route: two}}
  two: {sink: {out1: {}}}
`)
		w.sources["in1"].SendEvents("a")
		err := w.wait() // nothing is left to wait for
		if s, why := w.state("one"); s != engine.Parked || !strings.Contains(why.Error(), "route two, which it feeds, is parked: no table") {
			t.Errorf("route one is %s: %v (%v)", s, why, err)
		}
	})
}

func TestRoutesInACircleEndWithoutWaitingForEachOther(t *testing.T) {
	for _, order := range []string{"deliver first", "deliver last"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				top := &topic{end: -1, changed: make(chan struct{})}
				w := newWorld(t,
					stage.Stage{Name: "topic", Kind: stage.KindSink, New: func() any { return &topicSink{top} }},
					stage.Stage{Name: "topic", Kind: stage.KindSource, New: func() any { return &topicSource{top} }})
				deliver := "  deliver: {sink: {switch: [{when: 'message == \"again\"', sink: {topic: {}}}, {sink: {out1: {}}}]}}\n"
				retry := "  retry: {source: {topic: {}}, sink: {route: deliver}}\n"
				first := "  first: {source: {in1: {}}, sink: {route: deliver}}\n"
				yaml := "routes:\n" + retry + first + deliver
				if order == "deliver first" {
					yaml = "routes:\n" + deliver + first + retry
				}
				w.start(yaml)
				w.sources["in1"].SendEvents("a", "b")
				if err := w.sinks["out1"].AwaitDelivered(t.Context(), 2); err != nil {
					t.Fatal(err)
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAStageThatCannotBeOpenedParksItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailOpens(stage.Fatal(errors.New("wrong password")))
		w.start(simple)
		synctest.Wait()
		if s, why := w.state("r"); s != engine.Parked {
			t.Errorf("state %s: %v", s, why)
		}
		if err := w.stop(); err == nil || !strings.Contains(err.Error(), "wrong password") {
			t.Error(err)
		}
	})
}

func TestASecondEngineOnTheSameStateIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.load(simple)
	first, err := engine.New(t.Context(), p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.New(t.Context(), p, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("the second was not refused: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	again, err := engine.New(t.Context(), p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnEventMayGoToSeveralSinksEachWithItsOwnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out2"].FailEvents(stagetest.Message("b"), 2, errors.New("busy"))
		w.start("routes:\n  r: {source: {in1: {}}, sink: {broadcast: [{out1: {}}, {sink: {out2: {}}}]}}\n")
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(w.sinks["out1"].Messages(), w.sinks["out2"].Messages()); got != "[a b c] [a c b]" {
			t.Errorf("delivered %s", got)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestASwitchSendsEachEventOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(`
routes:
  r:
    source: {in1: {}}
    sink:
      switch:
        - {when: 'message == "a"', sink: {out1: {}}}
        - {sink: {out2: {}}}
`)
		w.sources["in1"].SendEvents("a", "b", "a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(w.sinks["out1"].Messages(), w.sinks["out2"].Messages()); got != "[a a] [b]" {
			t.Errorf("delivered %s", got)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// topic is something that routes meet at outside the engine: a sink that
// appends and a source that reads, linked by name.
type topic struct {
	mu      sync.Mutex
	events  []event.Event
	read    int
	end     int // -1: nobody asked
	changed chan struct{}
}

type (
	topicSink   struct{ *topic }
	topicSource struct{ *topic }
)

func (c topicSink) Open(context.Context, stage.Settings) (stage.Writer, error)   { return c, nil }
func (c topicSource) Open(context.Context, stage.Settings) (stage.Reader, error) { return c, nil }
func (c topicSink) Links() []stage.Link                                          { return []stage.Link{{Writes: true, What: "topic"}} }
func (c topicSource) Links() []stage.Link                                        { return []stage.Link{{What: "topic"}} }
func (t *topic) Close(context.Context) error                                     { return nil }

func (t *topic) Write(_ context.Context, b *event.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range b.Open() {
		t.events = append(t.events, event.Event{Message: strings.Clone(e.Message)})
	}
	t.tell()
	return nil
}

func (t *topic) tell() { close(t.changed); t.changed = make(chan struct{}) }

func (t *topic) Read(ctx context.Context) (event.Parcel, error) {
	for {
		t.mu.Lock()
		changed, unread := t.changed, t.events[t.read:]
		if len(unread) > 0 {
			t.read++
			t.mu.Unlock()
			time.Sleep(100 * time.Millisecond) // a reader that lags behind
			return event.Parcel{Lane: "0", Events: unread[:1:1]}, nil
		}
		if t.end >= 0 && t.read >= t.end {
			t.mu.Unlock()
			return event.Parcel{}, io.EOF
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return event.Parcel{}, ctx.Err()
		}
	}
}

func (t *topic) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = len(t.events)
	t.tell()
	return nil
}

func TestARouteEndsAfterTheRoutesItReadsFromOnceItHasCaughtUp(t *testing.T) {
	for _, finite := range []bool{true, false} {
		t.Run(fmt.Sprintf("finite=%v", finite), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				top := &topic{end: -1, changed: make(chan struct{})}
				w := newWorld(t,
					stage.Stage{Name: "topic", Kind: stage.KindSink, New: func() any { return &topicSink{top} }},
					stage.Stage{Name: "topic", Kind: stage.KindSource, New: func() any { return &topicSource{top} }})
				w.start(`
routes:
  audit: {source: {topic: {}}, sink: {out1: {}}}
  generate: {source: {in1: {}}, sink: {topic: {}}}
`)
				w.sources["in1"].SendEvents(strings.Split("abcdefghijklmnopqrstuvwxyz", "")...)
				var err error
				if finite {
					w.sources["in1"].End()
					err = w.wait()
				} else {
					if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
					err = w.stop()
				}
				if err != nil {
					t.Error(err)
				}
				if got := len(w.sinks["out1"].Messages()); got != 26 {
					t.Errorf("%d of 26 events arrived", got)
				}
			})
		})
	}
}
