package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// DeliveryTimeout bounds one attempt to publish a batch to Kafka: an outage
// must be seen within seconds.
const DeliveryTimeout = 5 * time.Second

// maxRecord is Kafka's own default for message.max.bytes.
const maxRecord = 1<<20 + 12

// NewClient makes a Kafka client, with options on top of those that all
// clients of the cluster have.
type NewClient func(...kgo.Opt) (*kgo.Client, error)

// Kafka says how to reach a topic.
type Kafka struct {
	Client   NewClient
	Classify func(error) error // gives a client's error the class that the engine acts on
	Topic    string
}

// Writer publishes to the topic as watermill-kafka does: all replicas must
// have a message before it counts. key gives a record its key; nil, or "" for
// an event: none.
func (k Kafka) Writer(codec Codec, key func(*event.Event) string) (*Writer, error) {
	client, err := k.Client(
		kgo.DefaultProduceTopic(k.Topic),
		kgo.RecordPartitioner(partitioner()),
		kgo.ProducerLinger(0), // the client's own default is 10ms
		kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.MaxBufferedRecords(1<<20), // bounded by the batches in flight
		kgo.ProduceRequestTimeout(DeliveryTimeout),
		kgo.RequestTimeoutOverhead(DeliveryTimeout/2),
		// Else what is in flight to a broker that went silent could not be given up.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return nil, err
	}
	w := NewWriter(codec, producer{k, client}.publish, func(context.Context) error {
		client.Close()
		return nil
	})
	w.key = key
	return w, nil
}

type producer struct {
	Kafka
	client *kgo.Client
}

// publish produces all messages at once; the client keeps the order of those
// of a partition.
func (p producer) publish(ctx context.Context, msgs []*message.Message, errs []error) {
	attempt, cancel := context.WithTimeout(ctx, DeliveryTimeout)
	defer cancel()
	records := make([]*kgo.Record, len(msgs))
	for i, msg := range msgs {
		records[i] = marshal(p.Topic, msg)
	}
	p.produce(attempt, records, errs)
	for i, err := range errs {
		errs[i] = p.explain(ctx, err)
	}
	p.again(attempt, ctx, records, errs)
}

func (p producer) produce(ctx context.Context, records []*kgo.Record, errs []error) {
	var wg sync.WaitGroup
	wg.Add(len(records))
	for i, r := range records {
		p.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			errs[i] = err
			wg.Done()
		})
	}
	wg.Wait()
}

// again sends records that were refused once more, each by itself: Kafka
// refuses the records of a request as a whole, and only the bad one may be
// blamed.
func (p producer) again(attempt, ctx context.Context, records []*kgo.Record, errs []error) {
	var refused []int
	for i, err := range errs {
		if stage.ClassOf(err) == stage.BadEvent {
			refused = append(refused, i)
		}
	}
	if len(refused) < 2 {
		return
	}
	for _, i := range refused {
		one := &kgo.Record{Topic: records[i].Topic, Key: records[i].Key, Value: records[i].Value, Headers: records[i].Headers}
		errs[i] = p.explain(ctx, p.client.ProduceSync(attempt, one).FirstErr())
	}
}

func (p producer) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("kafka topic %s: no answer within %v", p.Topic, DeliveryTimeout)
	default:
		return p.Classify(fmt.Errorf("kafka topic %s: %w", p.Topic, err))
	}
}
