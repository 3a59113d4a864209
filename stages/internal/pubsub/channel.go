package pubsub

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// Channel is a GoChannel that the routes of a pipeline share: what one
// publishes to a topic, others read.
//
// A GoChannel by itself drops what nobody reads, and what its reader has not
// acked when it goes. Here each message carries a ticket that readers stamp
// when they ack, and a message counts as published when all have.
type Channel struct {
	scope string
	ch    *gochannel.GoChannel
	users int // guarded by channels.mu

	mu      sync.Mutex
	readers map[string]int // by topic
}

// channels are those in use, by scope. Stages of one pipeline meet in one by
// name, since they have no other way to.
var channels = struct {
	mu   sync.Mutex
	open map[string]*Channel
}{open: map[string]*Channel{}}

// ticket counts the readers that have acked a message.
type ticket struct{ acks atomic.Int64 }

type ticketKey struct{}

// OpenChannel opens the channel of a scope, such as a pipeline's state
// directory. It is closed when everybody who opened it has closed it.
func OpenChannel(scope string, log watermill.LoggerAdapter) *Channel {
	channels.mu.Lock()
	defer channels.mu.Unlock()
	c := channels.open[scope]
	if c == nil {
		c = &Channel{scope: scope, readers: map[string]int{}, ch: gochannel.NewGoChannel(gochannel.Config{
			BlockPublishUntilSubscriberAck: true, // else memory is the only bound
			PreserveContext:                true, // the ticket is in it
		}, log)}
		channels.open[scope] = c
	}
	c.users++
	return c
}

// Close lets go of the channel.
func (c *Channel) Close() error {
	channels.mu.Lock()
	c.users--
	last := c.users == 0
	if last {
		delete(channels.open, c.scope)
	}
	channels.mu.Unlock()
	if !last {
		return nil
	}
	return c.ch.Close()
}

// Reader reads a topic, and closes its use of the channel with it.
func (c *Channel) Reader(ctx context.Context, topic string, codec Codec) (*FinishingReader, error) {
	r, err := Subscribe(ctx, "gochannel", c.ch, topic, codec)
	if err != nil {
		return nil, err
	}
	c.count(topic, 1)
	end := r.stop
	r.stop = sync.OnceValue(func() error {
		c.count(topic, -1)
		if err := end(); err != nil {
			return err
		}
		return c.Close()
	})
	// Who publishes waits for the acks: when all who do have stopped, there is
	// nothing left.
	ended := make(chan struct{})
	r.ended = ended
	finish := sync.OnceFunc(func() { close(ended) })
	return &FinishingReader{Reader: r, finish: func(context.Context) error { finish(); return nil }}, nil
}

func (c *Channel) count(topic string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers[topic] += by
}

// Publish publishes to a topic, message by message.
func (c *Channel) Publish(topic string) Publish {
	return inOrder(func(ctx context.Context, msg *message.Message) error {
		c.mu.Lock()
		readers := c.readers[topic]
		c.mu.Unlock()
		if readers == 0 {
			return fmt.Errorf("nobody reads topic %q of this process's gochannel; a route with "+
				"`source: {watermill: {pubsub: gochannel, topic: %s}}` does", topic, topic)
		}
		t := &ticket{}
		ctx, noted := context.WithCancel(context.WithValue(ctx, ticketKey{}, t))
		defer noted()
		msg.SetContext(ctx)
		if err := c.ch.Publish(topic, msg); err != nil {
			return err
		}
		if acks := t.acks.Load(); acks < int64(readers) {
			return fmt.Errorf("topic %q: a reader went away before it had dealt with the message", topic)
		}
		return nil
	})
}
