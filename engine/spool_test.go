package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/spool"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

var errAway = errors.New("connection refused")

const spooled = `
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, spool: {}, sink: {out1: {}}}
`

// startIn runs a pipeline with a state directory of the test's choice.
func (w *world) startIn(dir, yaml string) *world {
	w.t.Helper()
	p, err := config.Parse(w.catalogue, "test.yaml", []byte("pipeline: test\nstate: "+dir+"\n"+yaml), config.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := engine.New(w.t.Context(), p, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.result <- e.Run(ctx) }()
	return w
}

// sorted are the messages of the delivered events: no order is promised them.
func sorted(s *stagetest.Sink) []string {
	messages := s.Messages()
	slices.Sort(messages)
	return messages
}

// holds is what the spool of route r shows.
func (w *world) holds(key string) any {
	w.t.Helper()
	for _, s := range w.engine.Status() {
		if s.Name == "r.spool" && len(s.Stages) == 1 {
			return s.Stages[0].Values[key]
		}
	}
	w.t.Fatal("no spool is shown")
	return nil
}

func TestInGoodWeatherNothingIsSpooled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).start(spooled)
		time.Sleep(time.Second) // in which the sink is opened: what comes before is spooled
		w.sources["in1"].SendEvents("a", "b", "c")
		w.sources["in1"].End()
		if err := w.wait(); err != nil {
			t.Error(err)
		}
		if got := w.books("r"); got != (engine.Books{In: 3, Delivered: 3, Batches: 2}) {
			t.Errorf("books %+v", got)
		}
		if got := w.books("r.spool"); got != (engine.Books{}) {
			t.Errorf("books of the spool %+v", got)
		}
	})
}

func TestAnOutageFillsTheSpoolAndTheSourceGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		w.start(spooled)
		time.Sleep(time.Second) // in which the sink is opened: what comes before is spooled untried
		for i := range 100 {
			w.sources["in1"].SendEvents(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
		}
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if got := w.books("r"); got.Delivered != 200 || got.InFlight != 0 {
			t.Errorf("the source has to wait: %+v", got)
		}
		time.Sleep(time.Second) // in which the sink has been tried
		if w.holds("lag") != int64(200) || w.holds("state") != "filling" {
			t.Errorf("the spool holds %v and is %v", w.holds("lag"), w.holds("state"))
		}
		time.Sleep(time.Minute)
		// Without pauses between them, every batch would have been tried.
		if n := w.sinks["out1"].Writes(); n > 80 {
			t.Errorf("%d attempts at a sink that is away for a minute", n)
		}
		w.sinks["out1"].Mend()
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 200); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // removals take their time
		if w.holds("lag") != int64(0) || w.holds("bytes") != int64(0) || w.holds("state") != "empty" {
			t.Errorf("the spool still holds %v events, %v bytes and is %v", w.holds("lag"), w.holds("bytes"), w.holds("state"))
		}
		w.sources["in1"].SendEvents("afterwards")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 201); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if got := w.books("r.spool"); got.In != 200 || got.Delivered != 200 {
			t.Errorf("books of the spool %+v: what comes afterwards goes direct", got)
		}
	})
}

func TestALaneThatHasSpooledGoesThroughTheSpoolUntilItIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.Message("p0"), 5, errAway)
		w.start(spooled)
		for i := range 50 {
			for _, lane := range []string{"p", "q"} {
				w.sources["in1"].Send(event.Parcel{Lane: lane, Events: stagetest.Events(fmt.Sprint(lane, i)), Origin: event.Origin{Kind: "in1"}})
			}
		}
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		next := map[byte]int{}
		for _, m := range w.sinks["out1"].Messages() {
			if want := fmt.Sprint(string(m[0]), next[m[0]]); m != want {
				t.Fatalf("%s came where %s was due", m, want)
			}
			next[m[0]]++
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAlwaysDeliversFromTheFile(t *testing.T) {
	w := newWorld(t)
	w.sources["in1"].SendEvents("a", "b", "c")
	w.sources["in1"].End()
	if err := w.start(strings.Replace(spooled, "spool: {}", "spool: {when: always}", 1)).wait(); err != nil {
		t.Error(err)
	}
	if front, drain := w.books("r"), w.books("r.spool"); front.Delivered != 3 || drain.In != 3 || drain.Delivered != 3 {
		t.Errorf("books %+v, of the spool %+v", front, drain)
	}
	if got := sorted(w.sinks["out1"]); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("delivered %q", got)
	}
}

func TestWhatRemainsAtTheEndIsDeliveredByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		dir := t.TempDir()
		yaml := "drain_timeout: 5s\n" + spooled
		w.startIn(dir, yaml)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Errorf("what is durable does not count as not drained: %v", err)
		}
		if info, err := spool.Inspect(t.Context(), spool.File(dir, "r")); err != nil || info.Events != 3 {
			t.Fatalf("the file holds %+v (%v)", info, err)
		}

		again := newWorld(t)
		again.sources["in1"].End() // nothing new
		if err := again.startIn(dir, yaml).wait(); err != nil {
			t.Error(err)
		}
		if got := sorted(again.sinks["out1"]); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("delivered %q", got)
		}
		if got := again.books("r.spool"); got.In != 3 || got.Delivered != 3 {
			t.Errorf("books of the spool %+v", got)
		}
	})
}

func TestRoutesBehindASpoolHaveTimeToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		w.start(`
drain_timeout: 8s
routes:
  r: {source: {in1: {}}, batch: {linger: 1ms}, spool: {when: always}, sink: {broadcast: [{sink: {out1: {}}}, {sink: {route: s}}]}}
  s: {sink: {out2: {}}}
`)
		w.sources["in1"].SendEvents("a")
		if err := w.sinks["out2"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAFullSpoolDoesAsItWasTold(t *testing.T) {
	for full, want := range map[string]func(engine.Books) int64{
		"block":  func(b engine.Books) int64 { return b.InFlight },
		"reject": func(b engine.Books) int64 { return b.Rejected },
		"shed":   func(b engine.Books) int64 { return b.Shed },
	} {
		t.Run(full, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
				w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 100, linger: 1ms, bytes: 16KiB}, spool: {max: 32KiB, full: ` + full + `}, sink: {out1: {}}}
`)
				text := strings.Repeat("x", 1000)
				for i := range 100 {
					w.sources["in1"].SendEvents(text + fmt.Sprint(i))
				}
				time.Sleep(time.Second)
				synctest.Wait()
				b := w.books("r")
				if want(b) < 60 && full != "block" || b.InFlight == 0 && full == "block" || b.Delivered < 15 || b.Delivered > 32 {
					t.Errorf("books %+v", b)
				}
				if w.holds("full") != true {
					t.Error("it is not shown as full")
				}
				w.sinks["out1"].Mend()
				if full == "block" {
					if err := w.sinks["out1"].AwaitDelivered(t.Context(), 100); err != nil {
						t.Fatal(err)
					}
				} else if err := w.sinks["out1"].AwaitDelivered(t.Context(), int(b.Delivered)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // removals take their time
				if w.holds("full") != false {
					t.Error("it is still shown as full")
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestADamagedSpoolParksTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		yaml := "drain_timeout: 1s\n" + spooled
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		w.startIn(dir, yaml)
		w.sources["in1"].SendEvents("find me, if you can")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		damage(t, spool.File(dir, "r"), "find me", "lose me")

		again := newWorld(t).startIn(dir, yaml)
		err := again.wait()
		if parked := new(engine.ParkedError); !errors.As(err, &parked) || !strings.Contains(err.Error(), "batch 1: its checksum is") {
			t.Errorf("error %v", err)
		}
		if got := again.sinks["out1"].Messages(); len(got) > 0 {
			t.Errorf("delivered %q", got)
		}
	})
}

// damage changes what a file holds.
func damage(t *testing.T, file, from, to string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), from, to, 1)
	if changed == string(data) {
		t.Fatalf("%s does not hold %q", file, from)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// appender is a transform that must see each event once.
type appender struct{}

func (appender) Open(context.Context, stage.Settings) (stage.Applier, error) { return appender{}, nil }
func (appender) Close(context.Context) error                                 { return nil }
func (appender) Apply(_ context.Context, b *event.Batch) error {
	for _, e := range b.Open() {
		e.Message += "!"
		e.SetAttribute("seen", event.Int(1+attributeOf(e)))
	}
	return nil
}

func attributeOf(e *event.Event) int64 {
	v, _ := e.Attribute("seen")
	return v.Int()
}

func TestTransformsSeeSpooledEventsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stage.Stage{Name: "shout", Kind: stage.KindTransform, New: func() any { return &appender{} }})
		w.sinks["out1"].FailWrites(stagetest.All, 3, errAway)
		w.sources["in1"].SendEvents("a", "b", "c")
		w.sources["in1"].End()
		err := w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, spool: {}, middleware: [{shout: {}}], sink: {out1: {}}}
`).wait()
		if err != nil {
			t.Error(err)
		}
		delivered := w.sinks["out1"].Delivered()
		for _, e := range delivered {
			if len(e.Message) != 2 || attributeOf(&e) != 1 {
				t.Errorf("delivered %q, seen %d times", e.Message, attributeOf(&e))
			}
		}
		if len(delivered) != 3 || w.books("r.spool").In == 0 {
			t.Errorf("delivered %d events, %d of them from the spool", len(delivered), w.books("r.spool").In)
		}
	})
}

// patient waits for its dependency, where it may.
type patient struct{ open chan struct{} }

func (p *patient) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return p, nil }
func (p *patient) Close(context.Context) error                                 { return nil }
func (p *patient) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		select {
		case <-p.open:
			return next(msg)
		default:
		}
		if !stage.MayWait(msg.Context()) {
			return nil, errAway
		}
		select {
		case <-p.open:
			return next(msg)
		case <-msg.Context().Done():
			return nil, msg.Context().Err()
		}
	}
}

func TestTheFrontDoesNotWaitAndTheDrainDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{open: make(chan struct{})}
		w := newWorld(t, stage.Stage{Name: "patient", Kind: stage.KindMiddleware, New: func() any { return p }})
		w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, spool: {}, middleware: [{patient: {}}], sink: {out1: {}}}
`)
		began := time.Now()
		for i := range 20 {
			w.sources["in1"].SendEvents(fmt.Sprint(i))
		}
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the front took %v", took)
		}
		time.Sleep(time.Minute)
		began = time.Now()
		close(p.open)
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the drain took %v after the dependency was back", took)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestASpoolThatNoRouteDrainsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		w.startIn(dir, "drain_timeout: 1s\n"+spooled)
		w.sources["in1"].SendEvents("a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		p, err := config.Parse(w.catalogue, "test.yaml", []byte("pipeline: test\nstate: "+dir+"\n"+simple), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(t.Context(), p, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(said.String(), "no route of this pipeline drains") || !strings.Contains(said.String(), "events=1") {
			t.Errorf("it said %q", said.String())
		}
	})
}

func TestALogLineSaysWhetherTheRouteOrItsSpoolIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		var said strings.Builder
		e, err := engine.New(t.Context(), w.load("drain_timeout: 1s\n"+strings.Replace(spooled, "spool: {}", "spool: {when: always}", 1)),
			slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		w.sources["in1"].SendEvents("a")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		cancel()
		<-done
		if lines := said.String(); !strings.Contains(lines, `msg="not delivered, will try again" route=r.spool`) {
			t.Errorf("it said %s", lines)
		}
	})
}

// crashed copies a state directory as a crash would leave it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWhatWasAcknowledgedSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, stagetest.Always, errAway)
		w.startIn(dir, spooled)
		w.sources["in1"].SendEvents("a", "b", "c", "d", "e")
		if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		copied := crashed(t, dir)
		w.sinks["out1"].Mend()
		if err := w.stop(); err != nil {
			t.Error(err)
		}

		again := newWorld(t)
		again.sources["in1"].End()
		if err := again.startIn(copied, spooled).wait(); err != nil {
			t.Error(err)
		}
		if got := sorted(again.sinks["out1"]); !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
			t.Errorf("delivered %q", got)
		}
	})
}
