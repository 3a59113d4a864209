package stage

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
)

type batchKey struct{}

// carrier is what the message's context holds: a place for the batch, so that
// a view can take its turn there without a new context.
type carrier struct{ batch *event.Batch }

// Message makes the Watermill message that carries a batch. The batch travels
// in the context, which survives the router and the stock middlewares; the
// payload stays empty.
func Message(ctx context.Context, b *event.Batch) *message.Message {
	msg := message.NewMessage("", nil)
	msg.SetContext(context.WithValue(ctx, batchKey{}, &carrier{b}))
	return msg
}

// BatchOf finds the batch of a message. It panics when there is none: a
// message that did not come from the engine cannot be handled.
func BatchOf(msg *message.Message) *event.Batch {
	c, ok := msg.Context().Value(batchKey{}).(*carrier)
	if !ok {
		panic("stage: message carries no batch")
	}
	return c.batch
}

// With calls the handler with a view in place of the message's batch.
func With(msg *message.Message, view *event.Batch, next message.HandlerFunc) error {
	c := msg.Context().Value(batchKey{}).(*carrier)
	whole := c.batch
	c.batch = view
	defer func() { c.batch = whole }()
	_, err := next(msg)
	return err
}

// Result is what a handler has to return for its batch when err is what the
// last attempt said: nil when all is settled, err while open events are left,
// a *RefusedError when only bad ones are. A handler that worked on views
// returns Result(batch, the worst of their errors).
func Result(b *event.Batch, err error) error {
	switch open, refused := b.Count(event.Open), b.Count(event.Refused); {
	case ClassOf(err) == Unfixable:
		return err
	case open > 0:
		if c := ClassOf(err); c == OK || c == BadEvent {
			err = b.FirstErr(event.Open)
		}
		if err == nil {
			err = ErrOpen
		}
		return err
	case refused > 0:
		return &RefusedError{Events: refused, First: b.FirstErr(event.Refused)}
	default:
		return nil
	}
}

// Worse picks the error of two that the engine must know of: Unfixable before
// Retryable before Stopped before BadEvent before nil. Weather hides a stop, as
// there is still something to try again; who tries hears of a stop from the context.
func Worse(a, b error) error {
	rank := [...]int{OK: 0, BadEvent: 1, Stopped: 2, Retryable: 3, Unfixable: 4}
	if rank[ClassOf(b)] > rank[ClassOf(a)] {
		return b
	}
	return a
}

// ErrOpen says that events were left open and nobody said why: a bug of the
// stage that returned so.
var ErrOpen = errors.New("events were left unsettled without an error")
