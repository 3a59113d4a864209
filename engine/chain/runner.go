package chain

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// Runner is the outermost handler of a route: it runs the chain until every
// event of the batch is settled. While there is bad weather it runs it again,
// with growing pauses; retry inside is the bounded, configured, fast version.
type Runner struct {
	Source string // its name, for the events that it could not make sense of
	Log    *slog.Logger
	// Park is told why the route cannot go on; it must lead to the end of the
	// messages' context. Called from any goroutine, perhaps several times.
	Park func(error)
	// End is told that another route, to which events of this one go, takes no more
	// in this run; it must lead to the end of reading, since what is given back
	// could come again at once. Called from any goroutine, perhaps several times.
	End func()
}

// Middleware is the Runner as Watermill knows it. It never returns an error:
// all that Watermill can do about one is to give the batch back, and that is
// done here.
func (r *Runner) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		growStack()
		live := batching.LiveOf(msg)
		defer func() {
			if p := recover(); p != nil {
				r.Park(stage.Fatal(fmt.Errorf("the engine itself panicked: %v\n%s", p, debug.Stack())))
			}
			live.ReturnAll() // what is left when the route stops or parks
			live.Finish()
		}()
		r.run(msg, live.Batch, next)
		return nil, nil
	}
}

func (r *Runner) run(msg *message.Message, b *event.Batch, next message.HandlerFunc) {
	ctx := msg.Context()
	blame(r.Source, b, nil)
	for attempt := 0; ; attempt++ {
		_, err := next(msg)
		if b.Unsettled() == 0 || ctx.Err() != nil {
			return // what is left is given back
		}
		if errors.Is(err, ErrEnded) { // nothing else is left to try again; see stage.Worse
			r.End()
			return
		}
		switch class := stage.ClassOf(err); class {
		case stage.Unfixable:
			r.Park(err)
			return
		case stage.BadEvent:
			r.Park(&NoPoisonQueueError{Err: err})
			return
		default:
			r.Log.Warn("not delivered, will try again", "events", b.Unsettled(), "attempt", attempt+1, "error", err)
		}
		if stage.SystemClock.Sleep(ctx, max(batching.Pause(attempt), stage.RetryAfter(err))) != nil {
			return
		}
	}
}

// growStack makes the goroutine's stack large enough for a chain at once. The
// router starts a goroutine for every message, with a stack of 2 KiB. Chains
// grew it step by step while they were deep, and copying it then was 38 % of
// the engine's CPU time (BenchmarkEngine); here there is next to nothing to
// copy.
//
//go:noinline
func growStack() byte {
	var room [12 << 10]byte
	return room[rand.Uint32N(uint32(len(room)))] // not known in advance, so room has to be there
}

// NoPoisonQueueError says that a bad event has nowhere to go.
type NoPoisonQueueError struct{ Err error }

func (e *NoPoisonQueueError) Error() string {
	return "a bad event and no poison_queue in the route to store it: " + e.Err.Error()
}

func (e *NoPoisonQueueError) Unwrap() error { return e.Err }
