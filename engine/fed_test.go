package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// sorter settles events by their messages before the rest of the chain sees
// them, and stores bad ones aside.
type sorter struct{}

var errOverLimit = errors.New("over the limit")

func (sorter) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return sorter{}, nil }
func (sorter) Close(context.Context) error                                 { return nil }
func (sorter) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		for row, e := range b.Open() {
			switch e.Message {
			case "filter":
				b.Settle(row, event.Filtered)
			case "shed":
				b.Settle(row, event.Shed)
			case "reject":
				b.Fail(row, stage.Throttled(errOverLimit, 7*time.Second))
				b.Settle(row, event.Rejected)
			}
		}
		_, err := next(msg)
		if stage.ClassOf(err) != stage.BadEvent {
			return nil, err
		}
		for row := range b.Refused() {
			b.Settle(row, event.Poisoned)
		}
		return nil, nil
	}
}

var sorterStage = stage.Stage{Name: "sorter", Kind: stage.KindMiddleware, New: func() any { return &sorter{} }}

func TestWhatAFedRouteDoesWithAnEventIsItsOutcomeAtTheFeederToo(t *testing.T) {
	for name, sink := range map[string]string{
		"alone":            "{route: audit}",
		"among branches":   "{broadcast: [{out2: {}}, {route: audit}]}",
		"by a switch":      "{switch: [{when: 'true', sink: {route: audit}}]}",
		"over a third":     "{route: between}",
		"behind an outlet": "{out2: {}}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, points := newPoints()
				set.Store(true)
				w := newWorld(t, sorterStage, points)
				w.sinks["out1"].RefuseEvents(stagetest.Message("bad"), errors.New("not JSON"))
				middleware, between := "[]", ""
				switch name {
				case "behind an outlet":
					middleware = "[{points: {else: {route: audit}}}]"
				case "over a third":
					between = "  between: {sink: {route: audit}}\n"
				}
				w.start(fmt.Sprintf(`
routes:
  front: {source: {in1: {}}, batch: {linger: 1ms}, middleware: %s, sink: %s}
%s  audit: {batch: {linger: 1ms}, middleware: [sorter], sink: {out1: {}}}
`, middleware, sink, between))
				w.sources["in1"].SendEvents("good", "bad", "shed", "filter", "reject", "good")
				if err := w.sources["in1"].AwaitReceipts(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				receipt := w.sources["in1"].Receipts()[0]
				said := map[int]string{}
				for _, x := range receipt.Exceptions {
					said[x.Index] = fmt.Sprintf("%v, %v, %v", x.Outcome, x.Err, stage.RetryAfter(x.Err))
				}
				want := map[int]string{1: "poisoned, not JSON, 0s", 2: "shed, <nil>, 0s", 4: "rejected, over the limit, 7s"}
				if fmt.Sprint(said) != fmt.Sprint(want) {
					t.Errorf("the source is told %v, want %v", said, want)
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
				front, audit := w.books("front"), w.books("audit")
				if front.Delivered != 3 || front.Poisoned != 1 || front.Shed != 1 || front.Rejected != 1 {
					t.Errorf("books of the feeder %+v", front)
				}
				if (audit != engine.Books{In: 6, Delivered: 2, Filtered: 1, Poisoned: 1, Shed: 1, Rejected: 1, Batches: 1}) {
					t.Errorf("books of the fed %+v", audit)
				}
			})
		})
	}
}
