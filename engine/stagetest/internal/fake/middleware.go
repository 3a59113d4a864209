package fake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// RetryConfig tries again what failed.
type RetryConfig struct {
	// MaxRetries is how often, after the first time. Default: 3.
	MaxRetries int `yaml:"max_retries"`

	fault Fault
}

// Open implements stage.Middleware.
func (c *RetryConfig) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	return &retry{max: c.MaxRetries, clock: s.Clock, fault: c.fault}, nil
}

type retry struct {
	max   int
	clock stage.Clock
	fault Fault
	mu    sync.Mutex
}

// lock is where the broken one hangs.
func (r *retry) lock() { r.mu.Lock() }

// Wrap implements stage.Wrapper.
func (r *retry) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if r.fault == DeadlocksOnPanic {
			r.lock()
		}
		err := r.run(msg, next)
		if r.fault == DeadlocksOnPanic {
			r.mu.Unlock()
		}
		return nil, err
	}
}

func (r *retry) run(msg *message.Message, next message.HandlerFunc) error {
	b := stage.BatchOf(msg)
	var err error
	for try := 0; ; try++ {
		head, tail := b.Split(b.Count(event.Open) / 2)
		err = stage.Worse(r.with(msg, head, next), r.with(msg, tail, next))
		class := stage.ClassOf(err)
		if r.fault == GoesOnWhenStopped && class == stage.Stopped && try < 5 {
			continue
		}
		if try == r.max || class != stage.Retryable || r.sleep(msg.Context()) != nil {
			break
		}
	}
	return r.result(b, err)
}

func (r *retry) with(msg *message.Message, view *event.Batch, next message.HandlerFunc) error {
	if r.fault == LeavesView {
		_ = stage.With(msg, view, func(m *message.Message) ([]*message.Message, error) {
			*msg = *stage.Message(m.Context(), view)
			return nil, nil
		})
		_, err := next(msg)
		return err
	}
	return stage.With(msg, view, next)
}

func (r *retry) sleep(ctx context.Context) error {
	if r.fault == IgnoresContext {
		ctx = context.Background()
	}
	return r.clock.Sleep(ctx, time.Second)
}

func (r *retry) result(b *event.Batch, err error) error {
	switch {
	case r.fault == ReturnsNil:
		return nil
	case r.fault == HidesFatal && stage.ClassOf(err) == stage.Unfixable:
		return errors.New(err.Error())
	case r.fault == SettlesTwice:
		for row := range b.All() {
			b.Settle(row, event.Delivered)
		}
	case r.fault == BlamesEvents && stage.ClassOf(err) == stage.Retryable:
		for row := range b.Open() {
			b.Refuse(row, err)
		}
	case r.fault == LosesRefused && b.Count(event.Refused) > 0:
		return errors.New("something is left")
	}
	return stage.Result(b, err)
}

// Close implements stage.Wrapper.
func (r *retry) Close(context.Context) error { return nil }
