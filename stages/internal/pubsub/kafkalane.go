package pubsub

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lane hands out the records of a partition in order, and marks them as read
// in order: up to the first that is not acked.
type lane struct {
	of     *subscription
	number int32
	more   chan struct{} // the queue has something
	stop   context.CancelFunc
	life   context.Context
	ended  chan struct{}

	queue []*kgo.Record // guarded by of.mu
	taken int64         // everything before it is handed out; guarded by of.mu
}

// outgoing is a message that is handed out, or about to be.
type outgoing struct {
	record *kgo.Record
	msg    *message.Message
	noted  context.CancelFunc // ends the message's context: the ack was heard
}

func (s *subscription) newLane(number int32) *lane {
	l := &lane{of: s, number: number, more: make(chan struct{}, 1), ended: make(chan struct{}), taken: -1}
	l.life, l.stop = context.WithCancel(s.life)
	go l.run()
	return l
}

// end stops the lane and waits until it has. The queue is thrown away.
func (l *lane) end() {
	l.stop()
	<-l.ended
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.of.queued -= len(l.queue)
	l.queue = nil
}

func (l *lane) run() {
	defer close(l.ended)
	var pending []*outgoing // handed out, the first not acked yet
	var next *outgoing
	defer func() {
		for _, o := range pending {
			o.noted()
		}
		if next != nil {
			next.noted()
		}
	}()
	resend := false // the first of pending was nacked
	for {
		if next == nil && !resend && len(pending) < outRecords {
			next = l.take()
		}
		var out chan<- *message.Message
		var sending *message.Message
		switch {
		case resend:
			out, sending = l.of.out, pending[0].msg
		case next != nil:
			out, sending = l.of.out, next.msg
		}
		var acked, nacked <-chan struct{}
		if len(pending) > 0 && !resend {
			acked, nacked = pending[0].msg.Acked(), pending[0].msg.Nacked()
		}
		select {
		case out <- sending:
			if resend {
				resend = false
				continue
			}
			pending = append(pending, next)
			l.handedOut(next.record)
			next = nil
		case <-acked:
			l.of.client.MarkCommitRecords(pending[0].record)
			pending[0].noted()
			pending[0] = nil
			pending = pending[1:]
		case <-nacked:
			pending[0].noted()
			pending[0], resend = l.prepare(pending[0].record), true
		case <-l.more:
		case <-l.life.Done():
			return
		}
	}
}

// take is the next message of the queue; nil: it is empty. Markers of
// transactions are passed over.
func (l *lane) take() *outgoing {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	for len(l.queue) > 0 {
		r := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		l.of.queued--
		wake(l.of.room)
		if !r.Attrs.IsControl() {
			return l.prepare(r)
		}
		l.taken = r.Offset + 1
		l.of.look()
	}
	return nil
}

func (l *lane) prepare(r *kgo.Record) *outgoing {
	ctx, noted := context.WithCancel(l.life)
	return &outgoing{record: r, msg: unmarshal(ctx, r), noted: noted}
}

func (l *lane) handedOut(r *kgo.Record) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.taken = r.Offset + 1
	l.of.look()
}
