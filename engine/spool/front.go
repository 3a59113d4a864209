package spool

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Front decides, batch by batch, between the chain and the spool.
type Front struct {
	Store *Store
	// Always: nothing goes to the chain but bad events.
	Always bool
	// Full is what becomes of events for which there is no room: Rejected,
	// Shed, or Open, which makes them wait.
	Full event.Outcome
	// Changes says that the chain has transforms. What is stored are the
	// events as they came, since the drain sends them through the whole chain.
	Changes bool
	// Park is told that the chain needs a person; it detaches the Store, and
	// the events are stored. Called from any goroutine, perhaps several times.
	Park func(error)
	// End is told that the chain takes no more in this run; it detaches the Store,
	// and the events are stored. Called from any goroutine, perhaps several times.
	End func()
	// Probe asks what the chain delivers to whether it is there, for Watch.
	Probe func(context.Context) error

	watch vigil
}

// Wrap puts the front before a chain. In the chain, stage.MayWait says no:
// who would wait for a dependency returns a retryable error at once.
func (f *Front) Wrap(chain message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		if b.Count(event.Open) > 0 {
			if err := f.handle(msg, b, chain); err != nil || b.Unsettled() == 0 {
				return nil, err
			}
		}
		return nil, f.poison(msg, chain)
	}
}

// poison hands the bad events that are left to the chain, for the poison queue.
// Where that needs a person, they wait.
func (f *Front) poison(msg *message.Message, chain message.HandlerFunc) error {
	_, err := chain(msg)
	if stage.ClassOf(err) != stage.Unfixable {
		return err
	}
	f.Park(err)
	<-msg.Context().Done()
	return msg.Context().Err()
}

// errAgain says that the weather has changed: the chain may be tried again.
var errAgain = errors.New("the chain may be tried again")

// handle delivers or stores the open events of a batch.
func (f *Front) handle(msg *message.Message, b *event.Batch, chain message.HandlerFunc) error {
	copied := f.copyOf(b)
	for {
		if !f.Always && f.Store.direct(b.Lane()) {
			if f.Changes && !copied.done {
				copied.take(b)
			}
			err := f.try(msg, chain)
			if err == nil {
				f.Store.worked()
			}
			class := stage.ClassOf(err)
			if b.Count(event.Open) == 0 || class == stage.BadEvent || msg.Context().Err() != nil {
				copied.release()
				return err
			}
			switch class {
			case stage.Unfixable:
				f.Park(err)
			case stage.Stopped: // and yet nobody told us to stop: the chain leads to a route that has ended
				f.End()
			default:
				f.Store.failed(err)
			}
		}
		if !copied.done {
			copied.take(b)
		}
		err := f.keep(msg.Context(), b, copied.open(b))
		if !errors.Is(err, errAgain) {
			if err == nil {
				copied.release()
			}
			return err
		}
	}
}

// try runs the chain in a way that does not wait for a dependency.
func (f *Front) try(msg *message.Message, chain message.HandlerFunc) error {
	ctx := msg.Context()
	a := f.watch.begin(ctx)
	msg.SetContext(stage.WithoutWaiting(a))
	defer msg.SetContext(ctx)
	_, err := chain(msg)
	return f.watch.end(a, err)
}

// keep stores the open events, whose blob is given, and settles them.
func (f *Front) keep(ctx context.Context, b *event.Batch, blob []byte) error {
	for {
		changed := f.Store.changes()
		err := f.Store.put(b.Lane(), b.Count(event.Open), blob)
		switch {
		case err == nil:
			b.SettleOpen(event.Delivered)
			return nil
		case !errors.Is(err, ErrFull):
			return err
		case f.Full != event.Open:
			b.FailOpen(err)
			b.SettleOpen(f.Full)
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !f.Always && f.Store.direct(b.Lane()) {
			return errAgain
		}
	}
}

// snapshot is a batch's events as they came. It stays with the batch from one
// attempt to the next, since by then transforms have changed them.
type snapshot struct {
	*recorder
	done bool
}

func (f *Front) copyOf(b *event.Batch) *snapshot {
	if !f.Changes {
		return &snapshot{}
	}
	return event.Memo(b, f, func() *snapshot { return &snapshot{} })
}

var recorders = sync.Pool{New: func() any { return &recorder{} }}

func (s *snapshot) take(b *event.Batch) {
	if s.recorder == nil {
		s.recorder = recorders.Get().(*recorder)
	}
	s.record(b)
	s.done = true
}

// release gives the memory back when the batch needs it no more.
func (s *snapshot) release() {
	if s.recorder != nil {
		recorders.Put(s.recorder)
		s.recorder, s.done = nil, false
	}
}
