package pubsub

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// outMessages is how many messages may be handed out and not yet settled.
// Most subscribers wait for the ack of one before they bring the next.
const outMessages = 2000

// noteWithin is how long Close waits until the subscriber has taken note of
// the last acks. Subscribers that tell it take milliseconds; those that never
// tell cost this once.
const noteWithin = 2 * time.Second

// Reader coalesces the messages of a subscription. It is a stage.Reader.
type Reader struct {
	kind     string // of the origin
	topic    string
	codec    Codec
	messages <-chan *message.Message
	trouble  <-chan error    // of a subscriber that tells
	ended    <-chan struct{} // closed when Finish was called and nothing is left
	stop     func() error    // ends the subscription
	room     chan struct{}

	mu    sync.Mutex
	acked []*message.Message // of which the subscriber may not have taken note yet
}

// Subscribe begins to read a topic. The subscriber is not closed with the
// Reader: only the subscription ends.
func Subscribe(ctx context.Context, kind string, sub message.Subscriber, topic string, codec Codec) (*Reader, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	messages, err := sub.Subscribe(life, topic)
	if err != nil {
		end()
		return nil, fmt.Errorf("subscribing to topic %q: %w", topic, err)
	}
	return newReader(kind, topic, codec, messages, func() error {
		end()
		for range messages { // until the subscriber is done with it
		}
		return nil
	}), nil
}

func newReader(kind, topic string, codec Codec, messages <-chan *message.Message, stop func() error) *Reader {
	return &Reader{
		kind: kind, topic: topic, codec: codec, messages: messages,
		stop: sync.OnceValue(stop), room: make(chan struct{}, outMessages),
	}
}

// Read hands out the next message. A subscriber that has ended the
// subscription by itself has no more.
func (r *Reader) Read(ctx context.Context) (event.Parcel, error) {
	if err := ctx.Err(); err != nil {
		return event.Parcel{}, err
	}
	select {
	case r.room <- struct{}{}:
	case <-ctx.Done():
		return event.Parcel{}, ctx.Err()
	}
	select {
	case msg, more := <-r.messages:
		if more {
			return r.parcel(msg), nil
		}
		<-r.room
		return event.Parcel{}, io.EOF
	case <-r.ended:
		<-r.room
		return event.Parcel{}, io.EOF
	case err := <-r.trouble:
		<-r.room
		return event.Parcel{}, err
	case <-ctx.Done():
		<-r.room
		return event.Parcel{}, ctx.Err()
	}
}

// parcel is one message on its way.
func (r *Reader) parcel(msg *message.Message) event.Parcel {
	events := make([]event.Event, 1)
	e := &events[0]
	err := r.codec.Decode(msg, e)
	p := event.Parcel{
		Lane: r.topic, Events: events, Origin: event.Origin{Kind: r.kind, Name: r.topic},
		Done: func(receipt event.Receipt) { r.done(msg, receipt) },
	}
	if at, ok := placeOf(msg.Context()); ok {
		at.complete(e)
		p.Lane, p.Origin.Partition = fmt.Sprintf("%s/%d", r.topic, at.record.Partition), at.record.Partition
	}
	if e.ID == uuid.Nil {
		e.ID = newID()
	}
	if err != nil {
		p.Refused = []event.Refusal{{Index: 0, Err: err}}
	}
	return p
}

// newID is for a message that nobody gave an id, nor a place to make one of.
func newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.New() // no clock to be had
	}
	return id
}

// done answers for a message: nack means that it was given back.
func (r *Reader) done(msg *message.Message, receipt event.Receipt) {
	defer func() { <-r.room }()
	if !receipt.Settled() {
		msg.Nack()
		return
	}
	if t, ok := msg.Context().Value(ticketKey{}).(*ticket); ok {
		t.acks.Add(1)
	}
	msg.Ack()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, m := range r.acked {
		if m.Context().Err() == nil {
			r.acked[n] = m
			n++
		}
	}
	clear(r.acked[n:])
	r.acked = append(r.acked[:n], msg)
	if len(r.acked) > 2*outMessages { // the subscriber does not tell
		r.acked = append(r.acked[:0], r.acked[outMessages:]...)
	}
}

// Close ends the subscription once the subscriber has taken note of all acks.
// It ends a message's context then, as Watermill's own do; an ack that it has
// not heard when the subscription ends would be lost, and the message come
// again.
func (r *Reader) Close(ctx context.Context) error {
	r.mu.Lock()
	acked := r.acked
	r.acked = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	for _, msg := range acked {
		select {
		case <-msg.Context().Done():
		case <-ctx.Done():
		}
	}
	return r.stop()
}

// FinishingReader is a Reader that knows where its input ends. It is a
// stage.Finisher.
type FinishingReader struct {
	*Reader
	finish func(context.Context) error
}

// Finish lets Read go on to the present end, and no further.
func (r *FinishingReader) Finish(ctx context.Context) error { return r.finish(ctx) }

var (
	_ stage.Reader   = (*Reader)(nil)
	_ stage.Finisher = (*FinishingReader)(nil)
)
