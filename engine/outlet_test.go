package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// points sends batches to its outlet while it is set.
type points struct {
	Else stage.Outlet `yaml:"else"`

	set  *atomic.Bool
	then message.HandlerFunc
}

func (p *points) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	p.then = s.Outlet(p.Else)
	return p, nil
}
func (p *points) Close(context.Context) error { return nil }
func (p *points) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if p.set.Load() {
			return p.then(msg)
		}
		return next(msg)
	}
}

func newPoints() (*atomic.Bool, stage.Stage) {
	set := new(atomic.Bool)
	return set, stage.Stage{Name: "points", Kind: stage.KindMiddleware, New: func() any { return &points{set: set} }}
}

func TestEventsOfAnOutletAreDeliveredAndCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, st := newPoints()
		w := newWorld(t, st)
		w.sinks["out2"].FailEvents(stagetest.Message("b"), 1, errAway)
		w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, middleware: [{points: {else: {out2: {}}}}], sink: {out1: {}}}
`)
		w.sources["in1"].SendEvents("straight")
		if err := w.sinks["out1"].AwaitDelivered(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		set.Store(true)
		w.sources["in1"].SendEvents("a", "b", "c")
		if err := w.sinks["out2"].AwaitDelivered(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if got := w.books("r"); got.In != 4 || got.Delivered != 4 || got.Diverted != 3 {
			t.Errorf("books %+v", got)
		}
		if got := sorted(w.sinks["out2"]); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("diverted %q", got)
		}
		metrics, err := w.engine.Registry().Gather()
		if err != nil || !strings.Contains(fmt.Sprint(metrics), "millrace_route_events_diverted_total") {
			t.Errorf("no metric of it (%v)", err)
		}
	})
}

func TestAnOutletFeedsAnotherRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, st := newPoints()
		set.Store(true)
		w := newWorld(t, st)
		w.sources["in1"].SendEvents("a", "b", "c")
		w.sources["in1"].End()
		w.start(`
routes:
  r: {source: {in1: {}}, middleware: [{points: {else: {route: late}}}], sink: {out1: {}}}
  late: {sink: {out2: {}}}
`)
		if edges := engine.Edges(w.engine.Pipeline()); !slices.Contains(edges, engine.Edge{From: "r", To: "late"}) {
			t.Errorf("edges %v", edges)
		}
		if err := w.wait(); err != nil {
			t.Error(err)
		}
		if from, to := w.books("r"), w.books("late"); from.Diverted != 3 || to.Delivered != 3 || to.Diverted != 0 {
			t.Errorf("books %+v, of the other route %+v", from, to)
		}
	})
}
