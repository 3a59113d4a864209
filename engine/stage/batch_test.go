package stage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestTheBatchTravelsInTheMessage(t *testing.T) {
	b := batchOf(3)
	msg := stage.Message(t.Context(), b)
	if stage.BatchOf(msg) != b {
		t.Fatal("another batch came back")
	}
	var seen *event.Batch
	handler := middleware.Timeout(time.Minute)(func(msg *message.Message) ([]*message.Message, error) {
		seen = stage.BatchOf(msg)
		return nil, nil
	})
	if _, err := handler(msg); err != nil || seen != b {
		t.Fatalf("behind a stock middleware that changes the context the batch is %p (%v), want %p", seen, err, b)
	}
}

func TestTheMessageEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	msg := stage.Message(ctx, batchOf(1))
	cancel()
	if msg.Context().Err() == nil {
		t.Error("the message's context goes on after its parent's end")
	}
}

func TestAMessageOfSomeoneElseCannotBeHandled(t *testing.T) {
	defer func() {
		if p := recover(); p == nil {
			t.Error("a message without a batch was accepted")
		}
	}()
	stage.BatchOf(message.NewMessage("1", nil))
}

func TestWithShowsAViewAndPutsTheBatchBack(t *testing.T) {
	b := batchOf(4)
	head, tail := b.Split(1)
	msg := stage.Message(t.Context(), b)
	for _, view := range []*event.Batch{head, tail} {
		err := stage.With(msg, view, func(m *message.Message) ([]*message.Message, error) {
			if stage.BatchOf(m) != view {
				t.Error("the handler does not see the view")
			}
			return nil, errAway
		})
		if err != errAway || stage.BatchOf(msg) != b {
			t.Errorf("error %v; the batch is back: %v", err, stage.BatchOf(msg) == b)
		}
	}
}

func TestWithPutsTheBatchBackAfterAPanic(t *testing.T) {
	b := batchOf(2)
	msg := stage.Message(t.Context(), b)
	func() {
		defer func() { _ = recover() }()
		head, _ := b.Split(1)
		_ = stage.With(msg, head, func(*message.Message) ([]*message.Message, error) { panic("stage") })
	}()
	if stage.BatchOf(msg) != b {
		t.Error("after the panic of a stage the message still holds the view")
	}
}

func TestViewsWithinViewsAreTakenBackInOrder(t *testing.T) {
	b := batchOf(4)
	outer, _ := b.Split(2)
	inner, _ := outer.Split(1)
	msg := stage.Message(t.Context(), b)
	_ = stage.With(msg, outer, func(m *message.Message) ([]*message.Message, error) {
		_ = stage.With(m, inner, func(*message.Message) ([]*message.Message, error) { return nil, nil })
		if stage.BatchOf(m) != outer {
			t.Error("after the inner view the outer one is gone")
		}
		return nil, nil
	})
}

func TestResultSaysWhatIsLeft(t *testing.T) {
	fatal := stage.Fatal(errAway)
	cancelled := fmt.Errorf("stop: %w", context.Canceled)
	refusedBefore := &stage.RefusedError{Events: 9, First: errBad}
	for _, c := range []struct {
		name string
		do   func(b *event.Batch)
		err  error
		want error
	}{
		{"all settled, no error", settleAll, nil, nil},
		{"all settled in spite of an error", settleAll, errAway, nil},
		{"all settled, but the route must park", settleAll, fatal, fatal},
		{"all open, with an error", nothing, errAway, errAway},
		{"all open, and stopped", nothing, cancelled, cancelled},
		{"all open, and nobody said why", nothing, nil, stage.ErrOpen},
		{"one failed, the rest delivered", failOne, nil, errAway},
		{"one failed, and another error came last", failOne, errBad, errBad},
		{"one failed and one is bad: the open one counts", failAndRefuse, refusedBefore, errAway},
		{"open events, and an attempt that only found bad ones", nothing, refusedBefore, stage.ErrOpen},
		{"fatal with open events", failOne, fatal, fatal},
	} {
		b := batchOf(3)
		c.do(b)
		if got := stage.Result(b, c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestResultCountsTheBadEventsThatAreLeft(t *testing.T) {
	b := batchOf(3)
	b.Refuse(0, errBad)
	b.Refuse(2, errAway)
	b.Settle(1, event.Delivered)
	var refused *stage.RefusedError
	if err := stage.Result(b, nil); !errors.As(err, &refused) || refused.Events != 2 || refused.First != errBad {
		t.Fatalf("%v, want 2 bad events, the first for %v", err, errBad)
	}
	if err := stage.Result(b, errAway); !errors.As(err, &refused) {
		t.Errorf("the weather of an earlier attempt hides that only bad events are left: %v", err)
	}
}

func TestResultOfAViewIsAboutTheView(t *testing.T) {
	b := batchOf(2)
	head, _ := b.Split(1)
	settleAll(head)
	if err := stage.Result(head, nil); err != nil {
		t.Errorf("the view is settled: %v", err)
	}
	if err := stage.Result(b, nil); err != stage.ErrOpen {
		t.Errorf("the whole is not settled: %v", err)
	}
}

func TestWorsePicksWhatTheEngineMustKnowOf(t *testing.T) {
	rising := []error{nil, stage.Bad(errBad), context.Canceled, errAway, stage.Fatal(errAway)}
	for i, a := range rising {
		for j, b := range rising {
			if got := stage.Worse(a, b); got != rising[max(i, j)] {
				t.Errorf("of %v and %v: %v", a, b, got)
			}
		}
	}
	if first := errors.New("first"); stage.Worse(first, errAway) != first {
		t.Error("of two alike the first is the one to tell")
	}
}

func nothing(*event.Batch)     {}
func settleAll(b *event.Batch) { b.SettleOpen(event.Delivered) }
func failOne(b *event.Batch) {
	b.Fail(1, errAway)
	b.Settle(0, event.Delivered)
	b.Settle(2, event.Delivered)
}
func failAndRefuse(b *event.Batch) {
	b.Refuse(0, errBad)
	b.Fail(1, errAway)
	b.Settle(2, event.Delivered)
}
