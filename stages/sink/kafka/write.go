package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
	"millrace/stages/resource/kafka"
)

// writer is the opened sink.
type writer struct {
	cluster *kafka.Cluster
	topic   kafka.Topic
	codec   *avro.Codec // nil: JSON, or raw
	raw     bool        // the bytes as received
	frame   []byte      // before each Avro body
	key     keyFunc
	headers headers
	rule    partitionRule // nil: the key is enough
	bound   int64         // of all buffers together
	largest int           // bytes of key and value of a record that nobody waits for
	noAcks  bool
	memory  memory
	clock   stage.Clock
	nag     nag
	fill    fill
	spread  spread

	producers []*producer // one for each mode, those with a deadline first
	byLevel   [256]uint8  // index in producers

	unacknowledged atomic.Int64 // written to a connection, and nobody knows more
	lost           atomic.Int64 // of those that nobody waits for, given up
}

// maxModes bounds the producers: one for each level, and the default.
const maxModes = 8

// Write produces the batch's open events and waits until Kafka has answered
// for all that are awaited, or until the delivery timeout or the context ends
// and the clients have given up the rest.
func (w *writer) Write(ctx context.Context, b *event.Batch) error {
	for _, p := range w.producers {
		if p.broken.Load() {
			if err := p.mend(ctx); err != nil {
				return err
			}
		}
	}
	w.use()
	defer w.unuse()
	var calls [maxModes]*call
	for i, p := range w.producers {
		calls[i] = p.begin(ctx, b.Len())
	}
	w.encode(&calls, b)
	w.handOver(&calls)
	for i, p := range w.producers {
		switch c := calls[i]; {
		case len(c.records) == 0:
			p.drop(c)
			calls[i] = nil
		case p.mode.forgets:
			p.hand(ctx, c, b)
			calls[i] = nil
		}
	}
	for i, p := range w.producers {
		if calls[i] != nil {
			p.finish(ctx, calls[i], b)
		}
	}
	return nil
}

func (w *writer) use() {
	for _, p := range w.producers {
		p.using.RLock()
	}
}

func (w *writer) unuse() {
	for _, p := range w.producers {
		p.using.RUnlock()
	}
}

// portion is how many events are encoded before the clients get their records:
// they compress and send these while the next are encoded.
const portion = 500

// handOver gives what was encoded to the clients that Kafka answers.
func (w *writer) handOver(calls *[maxModes]*call) {
	for i, p := range w.producers {
		if !p.mode.forgets {
			calls[i].produce(p.client.Load())
		}
	}
}

// encode makes a record of each open event, for the producer of its level; one
// that cannot be encoded is refused.
func (w *writer) encode(calls *[maxModes]*call, b *event.Batch) {
	n := 0
	for row, e := range b.Open() {
		if n++; n > portion {
			w.handOver(calls)
			n = 1
		}
		c := calls[w.byLevel[e.Level]]
		first, start := len(c.buf), len(c.buf)
		r := kgo.Record{Timestamp: timestamp(e)}
		if w.key != nil {
			c.buf = w.key(c.buf, e)
			r.Key = c.since(start)
			start = len(c.buf)
		}
		err := w.value(c, e)
		if err == nil && w.rule != nil {
			r.Partition, err = w.rule(e)
		}
		if err == nil && c.owner.mode.forgets && len(c.buf)-first > w.largest {
			err = fmt.Errorf("kafka topic %s: the record has %d bytes, more than the %d of a batch", w.topic.Name, len(c.buf)-first, w.largest)
		}
		if err != nil {
			c.buf = c.buf[:first]
			b.Refuse(row, stage.Bad(err))
			continue
		}
		r.Value = c.since(start)
		if w.rule != nil {
			c.hints = append(c.hints, r.Partition)
		}
		if w.headers != (headers{}) || e.Replays > 0 {
			w.headers.add(c, &r, e)
		}
		c.records = append(c.records, r)
		c.rows = append(c.rows, int32(row))
	}
}

func (w *writer) value(c *call, e *event.Event) (err error) {
	switch {
	case w.raw && e.Raw != nil:
		c.buf = append(c.buf, e.Raw...)
		return nil
	case w.raw:
		c.buf = append(c.buf, e.Message...)
		return nil
	case w.codec == nil:
		c.buf = eventjson.Append(c.buf, e)
		return nil
	}
	c.buf, err = w.codec.Append(append(c.buf, w.frame...), e)
	return err
}

// timestamp is when the event was meant to be sent, else when it happened;
// unknown, the client takes the present.
func timestamp(e *event.Event) time.Time {
	if e.Due != 0 {
		return time.Unix(0, e.Due)
	}
	return e.Time
}

// Probe makes a round trip to the cluster.
func (w *writer) Probe(ctx context.Context) error { return w.cluster.Probe(ctx) }

// Close sends what nobody waits for and closes the producers. All Writes have
// returned, so nothing else is waiting in them.
func (w *writer) Close(ctx context.Context) error {
	var errs []error
	for _, p := range w.producers {
		if err := p.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("kafka topic %s: events that are sent %v were still in the buffer: %w", w.topic.Name, p.mode, err))
		}
	}
	return errors.Join(errs...)
}
