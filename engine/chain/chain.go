// Package chain is what happens to a batch between its source and its sink.
//
// A route's chain, outermost first:
//
//	Runner            tries until every event is settled, or gives back
//	└ guard           metrics; panics; "returned nil with events open"
//	  └ transform …   those in front of the first middleware work ahead of the
//	    └ Turn        turn of their batch
//	  └ middleware    limiter, retry, breaker, poison queue …
//	    └ guard
//	      └ transform changes events, once per event
//	        └ guard
//	          └ end   a sink, another route, a broadcast, a switch
//
// Each is a Watermill handler. What a handler returns is told in
// stage.Wrapper: nil only if every event of its batch is settled.
package chain

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// Transform is the handler that applies a transform and then goes on. The
// transform sees each event once, although the chain may run again.
func Transform(a stage.Applier, step int, next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		pending := b.Pending(step)
		if pending.Count(event.Open) > 0 {
			err := halve(pending, func(part *event.Batch) error {
				err := a.Apply(msg.Context(), part)
				if err == nil {
					part.Pass(step) // also when another part fails and the chain runs again
				}
				return err
			})
			if err != nil {
				pending.FailOpen(err)
				return nil, stage.Result(b, err)
			}
		}
		if b.Unsettled() == 0 {
			return nil, nil
		}
		return next(msg) // also with bad events only: the poison queue may be further in
	}
}

// Sink is the handler that writes to a sink and settles what it delivered.
func Sink(w stage.Writer) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		b.ClearErrs()
		err := halve(b, func(part *event.Batch) error {
			err := w.Write(msg.Context(), part)
			if err == nil {
				deliver(part)
			}
			return heard(msg.Context(), err)
		})
		if err != nil {
			b.FailOpen(err)
		}
		return nil, stage.Result(b, err)
	}
}

// heard is what a sink said. A client that cancels a dial of its own, behind a
// network that swallows everything, says "context canceled": while nobody told
// us to stop, that is weather, which breakers count and retries try again.
func heard(ctx context.Context, err error) error {
	if stage.ClassOf(err) == stage.Stopped && ctx.Err() == nil {
		return stage.Throttled(err, 0)
	}
	return err
}

// deliver settles what a successful Write left open and unmarked. Events that
// it marked as failed for being bad are refused, as if it had said so.
func deliver(b *event.Batch) {
	if b.FirstErr(event.Open) == nil {
		b.SettleOpen(event.Delivered)
		return
	}
	for row := range b.Open() {
		if err := b.Err(row); stage.ClassOf(err) == stage.BadEvent {
			b.Refuse(row, err)
		}
	}
	b.Select(func(row int, _ *event.Event) bool { return b.Err(row) == nil }).SettleOpen(event.Delivered)
}

// halve calls do with the open events. When do says Bad of several of them at
// once, each half is tried by itself, until the bad ones stand alone and are
// refused: at most 2·k·log₂ n calls for k bad events of n. Any other error
// ends it.
func halve(b *event.Batch, do func(*event.Batch) error) error {
	n := b.Count(event.Open)
	if n == 0 {
		return nil
	}
	err := do(b)
	if stage.ClassOf(err) != stage.BadEvent {
		return err
	}
	if n == 1 {
		for row := range b.Open() {
			b.Refuse(row, err)
		}
		return nil
	}
	head, tail := b.Split(n / 2)
	return stage.Worse(halve(head, do), halve(tail, do))
}

// Divert is the handler that delivers to another end than the route's own, and
// notes in the route's books how many.
func Divert(end message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		before := b.Count(event.Delivered)
		_, err := end(msg)
		if n := b.Count(event.Delivered) - before; n > 0 {
			batching.LiveOf(msg).Diverted(n)
		}
		return nil, err
	}
}

// Broadcast is the handler that gives every event to every branch. Each branch
// keeps its own account of what it has, on the batch, so that an attempt after
// a partial failure goes only to the branches that still need it.
func Broadcast(branches []message.HandlerFunc) message.HandlerFunc {
	key := new(byte) // this broadcast, among others that see the same batch
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		views := b.Fork(key, len(branches))
		errs := make([]error, len(branches))
		done := make(chan struct{}, len(branches))
		for i, view := range views {
			go func() {
				defer func() {
					if p := recover(); p != nil {
						errs[i] = stage.Fatal(fmt.Errorf("branch %d panicked: %v\n%s", i+1, p, debug.Stack()))
					}
					done <- struct{}{}
				}()
				if view.Unsettled() > 0 {
					_, errs[i] = branches[i](stage.Message(msg.Context(), view))
				}
			}()
		}
		for range views {
			<-done
		}
		var worst error
		for _, err := range errs {
			worst = stage.Worse(worst, err)
		}
		b.Join(key)
		return nil, stage.Result(b, worst)
	}
}

// Case is one way of a Switch: the events for which Match says yes.
type Case struct {
	Match   func(*event.Event) (bool, error) // nil: all that are left
	Handler message.HandlerFunc
}

// Switch is the handler that gives each event to the first case that matches.
// An event that matches none is filtered; one whose conditions cannot be
// evaluated is refused. The choice is made once: transforms in a case cannot
// move an event to another one in a later attempt.
func Switch(cases []Case) message.HandlerFunc {
	key := new(byte)
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		chosen := event.Memo(b, key, func() *choices { return new(choices) })
		for row, e := range b.Open() {
			if chosen.of(row) == undecided {
				chosen.set(row, choose(b, row, e, cases))
			}
		}
		var worst error
		for i := range cases {
			view := b.Select(func(row int, _ *event.Event) bool { return chosen.of(row) == i })
			if view.Len() > 0 {
				worst = stage.Worse(worst, stage.With(msg, view, cases[i].Handler))
			}
		}
		return nil, stage.Result(b, worst)
	}
}

// choices are which case was chosen, by row.
type choices struct{ cases []int32 }

const undecided = -1

func (c *choices) of(row int) int {
	if row >= len(c.cases) {
		return undecided
	}
	return int(c.cases[row]) - 1
}

func (c *choices) set(row, chosen int) {
	if row >= len(c.cases) {
		c.cases = append(c.cases, make([]int32, row+1-len(c.cases))...)
	}
	c.cases[row] = int32(chosen) + 1
}

// choose finds the case of an event; undecided: it is settled or refused.
func choose(b *event.Batch, row int, e *event.Event, cases []Case) int {
	for i, c := range cases {
		match := true
		if c.Match != nil {
			var err error
			if match, err = c.Match(e); err != nil {
				b.Refuse(row, fmt.Errorf("switch: case %d cannot be decided: %w", i+1, err))
				return undecided
			}
		}
		if match {
			return i
		}
	}
	b.Settle(row, event.Filtered)
	return undecided
}

// ErrReturned says that the route an event was handed to gave it back, since
// it is stopping.
var ErrReturned = errors.New("the next route is stopping")

// ErrEnded says that the route an event should be handed to has ended and
// takes no more in this run: trying again is of no use.
var ErrEnded error = endedError{}

type endedError struct{}

func (endedError) Error() string { return "the next route has ended" }

// Is makes it the end of a context to those who ask what it means: neither the
// event nor a dependency is to blame.
func (endedError) Is(target error) bool { return target == context.Canceled }

// Feed is the handler that hands events to another route and waits until that
// route has settled them: its backpressure is felt here, and nothing is
// acknowledged upstream before it is safe downstream. put must call Done of
// the parcel, or return an error.
func Feed(put func(context.Context, event.Parcel) error) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		rows := make([]int, 0, b.Len())
		events := make([]event.Event, 0, b.Len())
		for row, e := range b.Open() {
			rows, events = append(rows, row), append(events, e.Share())
		}
		if len(rows) == 0 {
			return nil, stage.Result(b, nil)
		}
		answer := make(chan event.Receipt, 1)
		// Events of several origins can meet in one batch; the first speaks
		// for them.
		err := put(msg.Context(), event.Parcel{
			Lane: b.Lane(), Events: events, Origin: b.Origin(rows[0]),
			Done: func(r event.Receipt) { answer <- r },
		})
		if err != nil {
			b.FailOpen(err)
			return nil, stage.Result(b, err)
		}
		// The events' memory is in use over there until the answer comes, also
		// when this route is out of time.
		settleFed(b, rows, <-answer)
		return nil, stage.Result(b, nil)
	}
}

// settleFed makes the other route's outcomes those of this one, with their
// reasons: this route's source is told what really became of its events, and the
// books of both say the same. Only what a rule filtered over there counts as
// delivered here: its receipt does not name it, and no source needs to know.
func settleFed(b *event.Batch, rows []int, r event.Receipt) {
	var returned map[int]bool
	for _, x := range r.Exceptions {
		row := rows[x.Index]
		if x.Outcome == event.Returned {
			b.Fail(row, ErrReturned)
			if returned == nil {
				returned = make(map[int]bool)
			}
			returned[row] = true
			continue
		}
		if x.Err != nil {
			b.Fail(row, x.Err) // such as when to come again
		}
		b.Settle(row, x.Outcome)
	}
	b.Select(func(row int, _ *event.Event) bool { return !returned[row] }).SettleOpen(event.Delivered)
}
