package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Publish sends messages in order. It sets the error of each that was not
// published, and then of all behind it that were not tried, so that a message
// never overtakes one before it. It may be left alone by who called it: the
// context says so.
type Publish func(ctx context.Context, msgs []*message.Message, errs []error)

// Writer explodes batches into messages. It is a stage.Writer.
type Writer struct {
	codec   Codec
	publish Publish
	key     func(*event.Event) string // nil: none
	close   func(context.Context) error
	running sync.WaitGroup
}

// NewWriter makes a Writer. close is called after the last message.
func NewWriter(codec Codec, publish Publish, close func(context.Context) error) *Writer {
	return &Writer{codec: codec, publish: publish, close: close}
}

// OneByOne publishes each message with a call of its own, since a publisher
// that is given several does not say which of them failed.
func OneByOne(pub message.Publisher, topic string) Publish {
	return inOrder(func(_ context.Context, msg *message.Message) error { return pub.Publish(topic, msg) })
}

// inOrder publishes messages one after the other, up to the first that cannot
// be published now. A bad one does not keep others back.
func inOrder(one func(context.Context, *message.Message) error) Publish {
	return func(ctx context.Context, msgs []*message.Message, errs []error) {
		for i, msg := range msgs {
			err := ctx.Err()
			if err == nil {
				err = guarded(func() error { return one(ctx, msg) })
			}
			if errs[i] = err; err == nil || stage.ClassOf(err) == stage.BadEvent {
				continue
			}
			for j := i + 1; j < len(errs); j++ {
				errs[j] = err
			}
			return
		}
	}
}

// guarded makes a panic about one message that message's error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = stage.Bad(fmt.Errorf("the publisher panicked: %v", p))
		}
	}()
	return f()
}

// Write publishes the open events and waits for the publisher, or for the end
// of the context: most publishers cannot be told to stop. Messages share no
// memory with events, so that a publisher that is left alone does no harm.
func (w *Writer) Write(ctx context.Context, b *event.Batch) error {
	var msgs []*message.Message
	var rows []int
	for row, e := range b.Open() {
		msg, err := w.codec.Encode(e)
		if err != nil {
			b.Refuse(row, err)
			continue
		}
		if w.key != nil {
			setKey(msg, w.key(e))
		}
		msgs, rows = append(msgs, msg), append(rows, row)
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	errs, done := make([]error, len(msgs)), make(chan struct{})
	w.running.Go(func() {
		defer close(done)
		w.publish(ctx, msgs, errs)
	})
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	report(b, rows, errs)
	return nil
}

func report(b *event.Batch, rows []int, errs []error) {
	for i, err := range errs {
		switch {
		case err == nil:
		case stage.ClassOf(err) == stage.BadEvent:
			b.Refuse(rows[i], err)
		default:
			b.Fail(rows[i], err)
		}
	}
}

// Close waits for publishers that were left alone, and closes.
func (w *Writer) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.running.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("a publisher does not return: %w", ctx.Err())
	}
	return errors.Join(err, w.close(ctx))
}

var _ stage.Writer = (*Writer)(nil)
