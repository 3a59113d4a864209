package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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
	opts    []kgo.Opt
	codec   *avro.Codec // nil: JSON
	frame   []byte      // before each Avro body
	key     keyFunc
	headers headers
	timeout time.Duration
	bound   int64
	metrics *metrics
	dials   dials
	calls   sync.Pool

	// client is replaced when it cannot go on; using is held for reading by
	// each Write and for writing by the replacement.
	client atomic.Pointer[kgo.Client]
	using  sync.RWMutex
	broken atomic.Bool
}

// Write produces the batch's open events and waits until Kafka has answered
// for all of them, or until the delivery timeout or the context ends and the
// client has given up the rest.
func (w *writer) Write(ctx context.Context, b *event.Batch) error {
	if w.broken.Load() {
		if err := w.mend(ctx); err != nil {
			return err
		}
	}
	w.using.RLock()
	defer w.using.RUnlock()
	c := w.calls.Get().(*call)
	defer w.release(c)
	w.encode(c, b)
	if len(c.records) == 0 {
		return nil
	}
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(w.timeout, cancel)
	defer timer.Stop()

	start := time.Now()
	c.produce(attempt, w.client.Load())
	if c.failed > 1 && c.blamesRecords() {
		w.oneByOne(attempt, c)
	}
	w.metrics.duration.Observe(time.Since(start).Seconds())
	w.metrics.sent.Add(float64(len(c.records) - c.failed))
	if c.failed > 0 {
		w.metrics.failed.Add(float64(c.failed))
		w.report(ctx, c, b)
	}
	return nil
}

// encode makes a record of each open event; one that cannot be encoded is
// refused.
func (w *writer) encode(c *call, b *event.Batch) {
	for row, e := range b.Open() {
		r := kgo.Record{Timestamp: timestamp(e)}
		if w.key != nil {
			start := len(c.buf)
			c.buf = w.key(c.buf, e)
			r.Key = c.since(start)
		}
		start := len(c.buf)
		if err := w.value(c, e); err != nil {
			c.buf = c.buf[:start]
			b.Refuse(row, stage.Bad(err))
			continue
		}
		r.Value = c.since(start)
		if w.headers != (headers{}) {
			w.headers.add(c, &r, e)
		}
		c.records = append(c.records, r)
		c.rows = append(c.rows, int32(row))
	}
}

func (w *writer) value(c *call, e *event.Event) (err error) {
	if w.codec == nil {
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

// oneByOne sends the records that were refused again, each in a request of its
// own: Kafka refuses a batch of records as a whole, and only the bad one may
// be blamed.
func (w *writer) oneByOne(ctx context.Context, c *call) {
	client := w.client.Load()
	for i := range c.records {
		if c.errs[i] == nil || stage.ClassOf(kafka.Classify(c.errs[i])) != stage.BadEvent {
			continue
		}
		r := c.records[i]
		r.Context, r.ProducerEpoch, r.ProducerID, r.Attrs = nil, 0, 0, kgo.RecordAttrs{}
		if c.errs[i] = client.ProduceSync(ctx, &r).FirstErr(); c.errs[i] == nil {
			c.failed--
		}
	}
}

// report marks what failed on the batch.
func (w *writer) report(ctx context.Context, c *call, b *event.Batch) {
	var timedOut error
	for i, err := range c.errs {
		if err == nil {
			continue
		}
		if isCanceled(err) {
			if timedOut == nil {
				timedOut = w.whyCanceled(ctx)
			}
			b.Fail(int(c.rows[i]), timedOut)
			continue
		}
		w.look(err)
		err = kafka.Classify(fmt.Errorf("kafka topic %s: %w", w.topic.Name, err))
		if stage.ClassOf(err) == stage.BadEvent {
			b.Refuse(int(c.rows[i]), err)
		} else {
			b.Fail(int(c.rows[i]), err)
		}
	}
}

func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// whyCanceled tells the end of the route from the end of the attempt.
func (w *writer) whyCanceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if last := w.dials.last.Load(); last != nil {
		return fmt.Errorf("kafka topic %s: no answer within delivery_timeout %v (last: %w)", w.topic.Name, w.timeout, *last)
	}
	return fmt.Errorf("kafka topic %s: no answer within delivery_timeout %v", w.topic.Name, w.timeout)
}

// fatalToProducer are errors that the client reports when it cannot tell any
// more what Kafka has, or when the topic is not the one it knew.
var fatalToProducer = []error{
	kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping, kerr.InvalidProducerEpoch,
	kerr.ProducerFenced, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kgo.ErrClientClosed,
}

// look remembers that the client has to be replaced.
func (w *writer) look(err error) {
	for _, fatal := range fatalToProducer {
		if errors.Is(err, fatal) {
			w.broken.Store(true)
			return
		}
	}
}

// mend makes the topic again, if it is gone, and a new client.
func (w *writer) mend(ctx context.Context) error {
	w.using.Lock()
	defer w.using.Unlock()
	if !w.broken.Load() {
		return nil // another Write did
	}
	if err := w.cluster.EnsureTopic(ctx, w.topic); err != nil {
		return err
	}
	client, err := w.cluster.NewClient(w.opts...)
	if err != nil {
		return err
	}
	w.client.Swap(client).Close()
	w.broken.Store(false)
	return nil
}

// Probe makes a round trip to the cluster.
func (w *writer) Probe(ctx context.Context) error { return w.cluster.Probe(ctx) }

// Close closes the producer. All Writes have returned, so nothing is waiting
// in it.
func (w *writer) Close(context.Context) error {
	w.client.Load().Close()
	return nil
}
