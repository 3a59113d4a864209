package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

func (w *world) pause(route string) {
	w.t.Helper()
	if err := w.engine.Pause(route); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	if s, _ := w.state(route); s != engine.Paused {
		w.t.Errorf("the paused route %s shows %s", route, s)
	}
}

func (w *world) resume(route string) {
	w.t.Helper()
	if err := w.engine.Resume(route); err != nil {
		w.t.Fatal(err)
	}
}

func TestAPausedRouteReadsNothingAndFinishesWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := w.sinks["out1"].Hold()
		w.start(simple)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.pause("r")
		w.sources["in1"].SendEvents("d")
		time.Sleep(time.Minute)
		release()
		synctest.Wait()
		if got := strings.Join(sorted(w.sinks["out1"]), ""); got != "abc" {
			t.Errorf("while paused, %q were delivered", got)
		}
		if got := w.books("r"); got.In != 3 || got.InFlight != 0 || got.Returned != 0 {
			t.Errorf("books %+v", got)
		}
		if !w.engine.Ready() {
			t.Error("a paused route makes the engine unready")
		}
		w.resume("r")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		if s, _ := w.state("r"); s != engine.Running {
			t.Errorf("resumed, it shows %s", s)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestPausingTwiceAndResumingARunningRouteChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start(simple)
		synctest.Wait()
		w.resume("r")
		w.pause("r")
		since := w.engine.Status()[0].Since
		time.Sleep(time.Minute)
		w.pause("r")
		if got := w.engine.Status()[0].Since; !got.Equal(since) || since.IsZero() {
			t.Errorf("paused since %v, then since %v", since, got)
		}
		w.resume("r")
		w.sources["in1"].SendEvents("a")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARouteThatIsPausedWhileItOpensBeginsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailOpens(errAway)
		w.start(simple)
		w.sources["in1"].SendEvents("a")
		if err := w.engine.Pause("r"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s, _ := w.state("r"); s != engine.Opening {
			t.Errorf("before its sink is there it shows %s", s)
		}
		time.Sleep(time.Minute)
		if s, _ := w.state("r"); s != engine.Paused || w.books("r").In != 0 {
			t.Errorf("opened, it shows %s and has read %d", s, w.books("r").In)
		}
		w.resume("r")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStopOfAPausedRouteEndsAtOnce(t *testing.T) {
	for name, yaml := range map[string]string{
		"plain":          simple,
		"opening":        simple,
		"with a spool":   "routes:\n  r: {source: {in1: {}}, spool: {}, sink: {out1: {}}}\n",
		"following":      followsByTopic,
		"fed":            fedByOne,
		"fed, by a busy": fedByOne,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTopicWorld(t)
				if name == "opening" {
					w.sinks["out1"].FailOpens(errAway)
				}
				w.start(yaml)
				if err := w.engine.Pause("r"); err != nil {
					t.Fatal(err)
				}
				if name != "opening" {
					synctest.Wait()
				}
				w.sources["in1"].SendEvents("a", "b")
				if name != "fed" {
					w.sources["in2"].SendEvents("c")
				}
				time.Sleep(time.Millisecond)
				began := time.Now()
				err := w.stop()
				if took := time.Since(began); took > time.Second {
					t.Errorf("the stop took %v", took)
				}
				if err != nil && name != "opening" {
					t.Error(err)
				}
				if got := w.sinks["out1"].Messages(); len(got) > 0 {
					t.Errorf("the stop delivered %q although the route was paused", got)
				}
				if s, _ := w.state("r"); s != engine.Stopped {
					t.Errorf("it shows %s", s)
				}
				if name == "fed, by a busy" {
					if got := w.books("one"); got.Returned != 1 {
						t.Errorf("the events that waited for it are not given back: %+v", got)
					}
				}
			})
		})
	}
}

const fedByOne = `
routes:
  one: {source: {in2: {}}, batch: {linger: 1ms}, sink: {route: r}}
  r: {sink: {out1: {}}}
`

const followsByTopic = `
routes:
  first: {source: {in2: {}}, batch: {linger: 1ms}, sink: {topic: {}}}
  r: {source: {topic: {}}, batch: {linger: 1ms}, sink: {out1: {}}}
`

// newTopicWorld has a topic that routes can meet at.
func newTopicWorld(t *testing.T) *world {
	top := &topic{end: -1, changed: make(chan struct{})}
	return newWorld(t,
		stage.Stage{Name: "topic", Kind: stage.KindSink, New: func() any { return &topicSink{top} }},
		stage.Stage{Name: "topic", Kind: stage.KindSource, New: func() any { return &topicSource{top} }})
}

func TestAPausedRouteHoldsTheEndOfTheRunUntilItIsResumed(t *testing.T) {
	for name, yaml := range map[string]string{
		"following": followsByTopic,
		"fed":       fedByOne,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTopicWorld(t)
				w.start(yaml)
				synctest.Wait()
				w.pause("r")
				w.sources["in2"].SendEvents("b")
				w.sources["in2"].End()
				time.Sleep(time.Hour)
				if s, _ := w.state("r"); s != engine.Paused || len(w.sinks["out1"].Messages()) > 0 {
					t.Errorf("it shows %s and delivered %q", s, w.sinks["out1"].Messages())
				}
				w.resume("r")
				if err := w.wait(); err != nil {
					t.Error(err)
				}
				if got := len(w.sinks["out1"].Messages()); got != 1 {
					t.Errorf("%d events were delivered", got)
				}
			})
		})
	}
}

func TestAPausedRoutePushesBackOnThoseThatFeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start(`
routes:
  one: {source: {in1: {}}, batch: {linger: 1ms}, sink: {route: r}}
  two: {source: {in2: {}}, batch: {linger: 1ms}, sink: {route: r}}
  r: {batch: {linger: 1ms}, sink: {out1: {}}}
`)
		synctest.Wait()
		w.pause("r")
		w.sources["in1"].SendEvents("a")
		w.sources["in2"].SendEvents("b", "c")
		time.Sleep(time.Minute)
		if one, two, r := w.books("one"), w.books("two"), w.books("r"); one.InFlight != 1 || two.InFlight != 2 || r.In != 0 {
			t.Errorf("books %+v, %+v, %+v", one, two, r)
		}
		w.resume("r")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatCannotBePausedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, 1, stage.Fatal(errors.New("no table")))
		w.start(`
routes:
  generate: {source: {in1: {}}, sink: {out1: {}}}
  spooled: {source: {in2: {}}, spool: {}, sink: {out2: {}}}
`)
		w.sources["in1"].SendEvents("a")
		time.Sleep(time.Minute)
		says := func(route, want string) {
			t.Helper()
			for _, steer := range []func(string) error{w.engine.Pause, w.engine.Resume} {
				if err := steer(route); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", route, err, want)
				}
			}
		}
		says("genrate", `no route "genrate"; did you mean "generate"?`)
		says("generate", "it is parked, and it reads nothing until what is wrong is mended")
		says("spooled.spool", "it is what empties the spool of route spooled")
		w.sources["in2"].End()
		time.Sleep(time.Minute)
		says("spooled", "it is finished, and it has come to its end")
		if err := w.wait(); !errors.As(err, new(*engine.ParkedError)) {
			t.Error(err)
		}
	})
}

func TestAPipelineThatStopsIsNotPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := w.sinks["out1"].Hold()
		w.start(simple)
		w.sources["in1"].SendEvents("a")
		if err := w.sinks["out1"].AwaitWrites(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.cancel()
		synctest.Wait()
		if err := w.engine.Pause("r"); err == nil || !strings.Contains(err.Error(), "the pipeline is stopping") {
			t.Errorf("says %v", err)
		}
		release()
		if err := w.wait(); err != nil {
			t.Error(err)
		}
	})
}

// last is a source that, told to stop, first hands out what it has accepted, as
// one does that has made promises to clients.
type last struct {
	mu    sync.Mutex
	line  []string
	reads int
}

func (l *last) Open(context.Context, stage.Settings) (stage.Reader, error) { return l, nil }
func (l *last) Close(context.Context) error                                { return nil }
func (l *last) Read(ctx context.Context) (event.Parcel, error) {
	l.mu.Lock()
	l.reads++
	l.mu.Unlock()
	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) == 0 {
		return event.Parcel{}, ctx.Err()
	}
	next := l.line[0]
	l.line = l.line[1:]
	return event.Parcel{Events: stagetest.Events(next), Origin: event.Origin{Kind: "last"}}, nil
}

func TestASourceHandsOutWhatItHasPromisedBeforeThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &last{line: []string{"a", "b"}}
		w := newWorld(t, stage.Stage{Name: "last", Kind: stage.KindSource, New: func() any { return &lastConfig{l} }})
		w.start("routes: {r: {source: {last: {}}, batch: {linger: 1ms}, sink: {out1: {}}}}\n")
		synctest.Wait()
		w.pause("r")
		time.Sleep(time.Second)
		if got := strings.Join(sorted(w.sinks["out1"]), ""); got != "ab" || l.reads != 3 {
			t.Errorf("%q were delivered in %d reads", got, l.reads)
		}
		time.Sleep(time.Hour)
		if l.reads != 3 {
			t.Errorf("the paused source was read %d times", l.reads)
		}
		w.resume("r")
		synctest.Wait()
		if l.reads != 4 {
			t.Errorf("resumed, it was read %d times", l.reads)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

type lastConfig struct{ *last }

func TestASourceThatEndsWhileItIsPausedEndsItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stage.Stage{Name: "brief", Kind: stage.KindSource, New: func() any { return &brief{} }})
		w.start("routes: {r: {source: {brief: {}}, sink: {out1: {}}}}\n")
		synctest.Wait()
		if err := w.engine.Pause("r"); err != nil {
			t.Fatal(err)
		}
		if err := w.wait(); err != nil {
			t.Error(err)
		}
		if s, _ := w.state("r"); s != engine.Finished {
			t.Errorf("it shows %s", s)
		}
	})
}

// brief is a source that has nothing, and says so when it is told to stop.
type brief struct{}

func (*brief) Open(context.Context, stage.Settings) (stage.Reader, error) { return &brief{}, nil }
func (*brief) Close(context.Context) error                                { return nil }
func (*brief) Read(ctx context.Context) (event.Parcel, error) {
	<-ctx.Done()
	return event.Parcel{}, io.EOF
}

// Whatever is paused and resumed when: nothing is lost or twice there, a lane
// keeps its order, and the books balance.
func TestNothingIsLostByPauses(t *testing.T) {
	fewer(t, "40")
	rapid.Check(t, func(rt *rapid.T) {
		type move struct {
			what  string
			after time.Duration
		}
		moves := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) move {
			return move{
				rapid.SampledFrom([]string{"send", "send", "pause one", "resume one", "pause two", "resume two"}).Draw(rt, "what"),
				time.Duration(rapid.IntRange(0, 3).Draw(rt, "after")) * time.Millisecond,
			}
		}), 1, 40).Draw(rt, "moves")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t).start(`
routes:
  one: {source: {in1: {}}, batch: {size: 2, linger: 1ms, in_flight: 2}, sink: {route: two}}
  two: {batch: {size: 3, linger: 1ms}, sink: {out1: {}}}
`)
			synctest.Wait()
			sent := 0
			for _, m := range moves {
				verb, route, _ := strings.Cut(m.what, " ")
				switch verb {
				case "send":
					sent++
					w.sources["in1"].Send(event.Parcel{
						Lane: "l", Events: stagetest.Events(fmt.Sprintf("%03d", sent)), Origin: event.Origin{Kind: "in1"},
					})
				case "pause":
					w.pause(route)
				default:
					w.resume(route)
				}
				time.Sleep(m.after)
			}
			w.resume("one")
			w.resume("two")
			w.sources["in1"].End()
			if err := w.wait(); err != nil {
				t.Error(err)
			}
			got := w.sinks["out1"].Messages()
			for i, m := range got {
				if m != fmt.Sprintf("%03d", i+1) {
					t.Fatalf("event %d is %s", i+1, m)
				}
			}
			if len(got) != sent {
				t.Errorf("%d of %d events were delivered", len(got), sent)
			}
		})
	})
}
