package chain

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/stage"
)

// Turn is the handler that waits until the batch before this one in its lane
// has ended, and then goes on. Transforms outside it work ahead: they are done
// with a batch when its sink has time for it. Nothing outside it may hold what
// the batch before could need, such as the permits of a limiter or a breaker.
func Turn(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if err := batching.LiveOf(msg).Turn(msg.Context()); err != nil {
			b := stage.BatchOf(msg)
			b.FailOpen(err)
			return nil, stage.Result(b, err)
		}
		return next(msg)
	}
}
