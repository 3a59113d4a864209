package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// witness is a transform that notes what it has seen.
type witness struct {
	mu   sync.Mutex
	seen []string
}

func (w *witness) Open(context.Context, stage.Settings) (stage.Applier, error) { return w, nil }
func (w *witness) Close(context.Context) error                                 { return nil }

func (w *witness) Apply(_ context.Context, b *event.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range b.Open() {
		w.seen = append(w.seen, e.Message)
	}
	return nil
}

// messages is what it has seen, sorted: it sees two batches at once.
func (w *witness) messages() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(w.seen)), " ")
}

func (w *witness) stage() stage.Stage {
	return stage.Stage{Name: "witness", Kind: stage.KindTransform, New: func() any { return w }}
}

// passing is a middleware that only passes on.
type passing struct{}

func (passing) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return passing{}, nil }
func (passing) Close(context.Context) error                                 { return nil }
func (passing) Wrap(next message.HandlerFunc) message.HandlerFunc           { return next }

var passingStage = stage.Stage{Name: "passing", Kind: stage.KindMiddleware, New: func() any { return &passing{} }}

func laneOf(messages ...string) event.Parcel {
	p := event.Parcel{Lane: "lane"}
	for _, m := range messages {
		p.Events = append(p.Events, event.Event{Message: m})
	}
	return p
}

func TestTransformsWorkOnTheNextBatchWhileTheSinkIsBusyWithThisOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &witness{}
		w := newWorld(t, seen.stage(), passingStage)
		release := w.sinks["out1"].Hold()
		w.sources["in1"].Send(laneOf("a", "b", "c", "d", "e", "f"))
		w.sources["in1"].End()
		w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, middleware: [{witness: {}}, {passing: {}}], sink: {out1: {}}}
`)
		synctest.Wait()
		if got := seen.messages(); got != "a b c d" {
			t.Errorf("while the first batch is written, the transform has seen %q, want two batches", got)
		}
		if n := w.sinks["out1"].Writes(); n != 1 {
			t.Errorf("%d writes of one lane at once", n)
		}
		release()
		if err := w.wait(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.sinks["out1"].Messages(), " "); got != "a b c d e f" {
			t.Errorf("in the sink: %q", got)
		}
	})
}

func TestATransformBehindAMiddlewareWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &witness{}
		w := newWorld(t, seen.stage(), passingStage)
		release := w.sinks["out1"].Hold()
		w.sources["in1"].Send(laneOf("a", "b", "c", "d"))
		w.sources["in1"].End()
		w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, middleware: [{passing: {}}, {witness: {}}], sink: {out1: {}}}
`)
		synctest.Wait()
		if got := seen.messages(); got != "a b" {
			t.Errorf("the transform has seen %q, want the first batch", got)
		}
		release()
		if err := w.wait(); err != nil {
			t.Fatal(err)
		}
	})
}

// However the sink fails, what comes ahead of its turn does not pass the batch
// that is tried again.
func TestABatchThatIsTriedAgainIsNotPassedByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &witness{}
		w := newWorld(t, seen.stage())
		w.sinks["out1"].FailWrites(func(e *event.Event) bool { return e.Message == "a" || e.Message == "d" }, 3, errors.New("away"))
		w.sources["in1"].Send(laneOf("a", "b", "c", "d", "e", "f"))
		w.sources["in1"].End()
		w.start(`
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, middleware: [{witness: {}}], sink: {out1: {}}}
`)
		if err := w.wait(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.sinks["out1"].Messages(), " "); got != "a b c d e f" {
			t.Errorf("in the sink: %q", got)
		}
		if got := seen.messages(); got != "a b c d e f" {
			t.Errorf("the transform has seen %q, want each event once", got)
		}
	})
}
