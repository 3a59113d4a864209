package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

func TestASpoolKeepsWhatTheNextRouteDoesNotTakeAnyMore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const yaml = `
routes:
  one: {source: {in2: {}}, batch: {linger: 1ms}, spool: {when: always}, sink: {broadcast: [{route: r}, {out2: {}}]}}
  r: {batch: {linger: 1ms}, sink: {out1: {}}}
`
		w := newWorld(t).startIn(dir, yaml)
		synctest.Wait()
		w.pause("r")
		w.sources["in2"].SendEvents("c", "d")
		time.Sleep(time.Second)
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		if got := strings.Join(w.sinks["out2"].Messages(), ""); got != "cd" {
			t.Errorf("the other branch got %.100q", got)
		}
		if got := w.books("one.spool"); got.Returned != 2 || w.books("one").Delivered != 2 {
			t.Errorf("books of the spool %+v, of its route %+v", got, w.books("one"))
		}

		w = newWorld(t).startIn(dir, yaml)
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestASpoolTakesInWhatTheNextRouteDoesNotTakeAnyMore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const yaml = `
routes:
  one: {source: {in2: {}}, batch: {linger: 1ms}, spool: {}, sink: {route: r}}
  r: {batch: {linger: 1ms}, sink: {out1: {}}}
`
		w := newWorld(t).startIn(dir, yaml)
		synctest.Wait()
		w.pause("r")
		w.sources["in2"].SendEvents("c", "d")
		time.Sleep(time.Second)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if got := w.books("one"); got.Delivered != 2 || got.Returned != 0 {
			t.Errorf("there was room in the spool: %+v", got)
		}
		w = newWorld(t).startIn(dir, yaml)
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// keeper is a source that is read up to its end when it is told to finish, and
// hands out again what it is given back.
type keeper struct {
	mu       sync.Mutex
	again    bool
	handed   int
	finished bool
	told     chan struct{}
}

func (k *keeper) Open(context.Context, stage.Settings) (stage.Reader, error) { return k, nil }
func (k *keeper) Close(context.Context) error                                { return nil }
func (k *keeper) Links() []stage.Link                                        { return []stage.Link{{What: "topic"}} }

func (k *keeper) Finish(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.finished = true
	close(k.told)
	k.told = make(chan struct{})
	return nil
}

func (k *keeper) Read(ctx context.Context) (event.Parcel, error) {
	for {
		k.mu.Lock()
		told := k.told
		if k.again {
			k.again = false
			k.handed++
			k.mu.Unlock()
			return event.Parcel{Lane: "0", Events: stagetest.Events("kept"), Done: k.done}, nil
		}
		k.mu.Unlock()
		select {
		case <-told:
		case <-ctx.Done():
			return event.Parcel{}, ctx.Err()
		}
	}
}

func (k *keeper) done(r event.Receipt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range r.Exceptions {
		if x.Outcome == event.Returned {
			k.again = true
		}
	}
	close(k.told)
	k.told = make(chan struct{})
}

func TestASourceIsReadNoMoreWhenTheNextRouteHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{again: true, told: make(chan struct{})}
		w := newWorld(t,
			stage.Stage{Name: "topic", Kind: stage.KindSink, New: func() any { return &topicSink{&topic{end: -1, changed: make(chan struct{})}} }},
			stage.Stage{Name: "keeper", Kind: stage.KindSource, New: func() any { return k }})
		w.start(`
routes:
  first: {source: {in1: {}}, sink: {topic: {}}}
  one: {source: {keeper: {}}, batch: {linger: 1ms}, sink: {route: r}}
  r: {batch: {linger: 1ms}, sink: {out1: {}}}
`)
		if err := w.engine.Pause("r"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		if s, _ := w.state("one"); s != engine.Stopped || k.handed > 2 {
			t.Errorf("the route that feeds it is %s, its source handed the event out %d times", s, k.handed)
		}
	})
}

func TestAnEventThatBadWeatherKeepsIsNotGivenBackForTheEndOfAnotherRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sinks["out1"].FailWrites(stagetest.All, 3, errAway)
		w.start(`
routes:
  one:
    source: {in1: {}}
    batch: {linger: 1ms}
    sink: {switch: [{when: 'message == "ended"', sink: {route: r}}, {sink: {out1: {}}}]}
  r: {batch: {linger: 1ms}, sink: {out2: {}}}
`)
		synctest.Wait()
		w.pause("r")
		w.sources["in1"].Send(event.Parcel{Lane: "0", Events: stagetest.Events("a", "ended")})
		w.sources["in1"].Send(event.Parcel{Lane: "0", Events: stagetest.Events("b")})
		time.Sleep(time.Second)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if got := strings.Join(w.sinks["out1"].Messages(), ""); got != "ab" {
			t.Errorf("delivered %q", got)
		}
		if got := w.books("one"); got.Returned != 1 || got.Delivered != 2 {
			t.Errorf("books %+v", got)
		}
	})
}
