package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// times is the same error n times.
func times(n int, err error) []error {
	list := make([]error, n)
	for i := range list {
		list[i] = err
	}
	return list
}

func (w *world) await(what string, yes func() bool) {
	w.t.Helper()
	for range 100_000 {
		if yes() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("never: %s", what)
}

func TestASpooledRouteTakesEventsBeforeItsSinkIsThere(t *testing.T) {
	for _, when := range []string{"open", "always"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sinks["out1"].FailOpens(times(8, errAway)...)
				began := time.Now()
				w.start(strings.Replace(spooled, "spool: {}", "spool: {when: "+when+"}", 1))
				for i := range 20 {
					w.sources["in1"].Send(event.Parcel{Lane: "l", Events: stagetest.Events(fmt.Sprint(i)), Origin: event.Origin{Kind: "in1"}})
				}
				if err := w.sources["in1"].AwaitReceipts(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("the source was told after %v", took)
				}
				if s, _ := w.state("r"); s != engine.Running || !w.engine.Ready() {
					t.Errorf("the route is %s, ready %v: it does take events", s, w.engine.Ready())
				}
				if s, why := w.state("r.spool"); s != engine.Opening || !errors.Is(why, errAway) {
					t.Errorf("behind the spool it is %s because of %v", s, why)
				}
				if w.holds("state") != "filling" || w.holds("lag") != int64(20) {
					t.Errorf("the spool is %v and holds %v", w.holds("state"), w.holds("lag"))
				}
				if err := w.sinks["out1"].AwaitDelivered(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
				for i, m := range w.sinks["out1"].Messages() {
					if m != fmt.Sprint(i) {
						t.Fatalf("%s came where %d was due", m, i)
					}
				}
				if s, why := w.state("r.spool"); s != engine.Running || why != nil {
					t.Errorf("afterwards it is %s because of %v", s, why)
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
				if front, drain := w.books("r"), w.books("r.spool"); front.Delivered != 20 || drain.Delivered != 20 {
					t.Errorf("books %+v, of the spool %+v", front, drain)
				}
			})
		})
	}
}

func TestAFiniteSourceBeforeASpoolEndsWhenTheSinkHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailOpens(times(8, errAway)...)
		w.sources["in1"].SendEvents("a", "b", "c")
		w.sources["in1"].End()
		if err := w.start(spooled).wait(); err != nil {
			t.Error(err)
		}
		if got := sorted(w.sinks["out1"]); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestStoppedBeforeTheSinkCameTheEventsStayInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t)
		w.sinks["out1"].FailOpens(times(1000, errAway)...)
		w.startIn(dir, spooled)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := w.stop()
		if never := new(engine.NotStartedError); !errors.As(err, &never) || never.Route != "r.spool" || !errors.Is(err, errAway) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		again := newWorld(t)
		again.sources["in1"].End()
		if err := again.startIn(dir, spooled).wait(); err != nil {
			t.Error(err)
		}
		if got := sorted(again.sinks["out1"]); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestBehindASpoolASinkParksAlone(t *testing.T) {
	wrong := stage.Fatal(errors.New("password authentication failed"))
	for name, fail := range map[string]func(*stagetest.Sink){
		"when it is opened": func(s *stagetest.Sink) { s.FailOpens(wrong) },
		"later":             func(s *stagetest.Sink) { s.FailWrites(stagetest.All, stagetest.Always, wrong) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				w := newWorld(t)
				fail(w.sinks["out1"])
				w.startIn(dir, spooled)
				for i := range 10 {
					w.sources["in1"].SendEvents(fmt.Sprint(i))
				}
				if err := w.sources["in1"].AwaitReceipts(t.Context(), 10); err != nil {
					t.Fatal(err)
				}
				w.await("parked", func() bool { s, _ := w.state("r.spool"); return s == engine.Parked })
				if s, _ := w.state("r"); s != engine.Running || w.engine.Ready() {
					t.Errorf("the route is %s, ready %v", s, w.engine.Ready())
				}
				w.sources["in1"].SendEvents("10")
				if err := w.sources["in1"].AwaitReceipts(t.Context(), 11); err != nil {
					t.Fatal(err)
				}
				err := w.stop()
				if parked := new(engine.ParkedError); !errors.As(err, &parked) || parked.Route != "r.spool" || !errors.Is(err, wrong) {
					t.Errorf("error %v", err)
				}
				again := newWorld(t)
				again.sources["in1"].End()
				if err := again.startIn(dir, spooled).wait(); err != nil {
					t.Error(err)
				}
				if n := len(again.sinks["out1"].Messages()); n != 11 {
					t.Errorf("%d events were in the spool", n)
				}
			})
		})
	}
}

// deaf is a sink whose writes get no answer; it can be asked whether it is there,
// unless it is too busy.
type deaf struct {
	there error
	busy  bool
}

func (d *deaf) Open(context.Context, stage.Settings) (stage.Writer, error) { return d, nil }
func (d *deaf) Close(context.Context) error                                { return nil }
func (d *deaf) Probe(ctx context.Context) error {
	if d.busy {
		<-ctx.Done()
		return ctx.Err()
	}
	return d.there
}
func (d *deaf) Write(ctx context.Context, _ *event.Batch) error {
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	<-wait.Done()
	return wait.Err()
}

func TestTheSpoolDoesNotWaitForTheTimeoutOfASinkThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stage.Stage{Name: "deaf", Kind: stage.KindSink, New: func() any { return &deaf{there: errAway} }})
		w.start("drain_timeout: 1s\n" + strings.Replace(spooled, "out1", "deaf", 1))
		began := time.Now()
		w.sources["in1"].SendEvents("a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the event was held up for %v", took)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestASlowSinkThatIsThereIsWaitedFor(t *testing.T) {
	for name, sink := range map[string]*deaf{"there": {}, "too busy to say": {busy: true}} {
		t.Run(name, func(t *testing.T) { waitsFor(t, sink) })
	}
}

func waitsFor(t *testing.T, sink *deaf) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stage.Stage{Name: "deaf", Kind: stage.KindSink, New: func() any { return sink }})
		w.start("drain_timeout: 1s\n" + strings.Replace(spooled, "out1", "deaf", 1))
		time.Sleep(time.Second) // in which the sink is opened
		began := time.Now()
		w.sources["in1"].SendEvents("a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 30*time.Second {
			t.Errorf("an attempt at a sink that is there was given up after %v", took)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
