package poisonqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/resource/kafka"
)

const (
	retention       = 30 * 24 * time.Hour // of a topic that is made here
	deliveryTimeout = 10 * time.Second    // then it is weather, and tried again
	maxRecord       = 1<<20 + 12          // Kafka's own default for message.max.bytes
)

// topic stores bad events in a Kafka topic: the original bytes as value, the
// original key, everything else in headers.
type topic struct {
	client *kgo.Client
	name   string
}

func openTopic(ctx context.Context, c *Config, s stage.Settings) (store, error) {
	cluster, err := stage.Use[*kafka.Cluster](s, c.Resource)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	if err := cluster.EnsureTopic(ctx, kafka.Topic{Name: c.Topic, Retention: retention}); err != nil {
		return nil, err
	}
	client, err := cluster.NewClient(
		kgo.DefaultProduceTopic(c.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // what is to be stored is all there already
		kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.AllowIdempotentProduceCancellation(), // else a broker that went silent could hold a write for ever
	)
	if err != nil {
		return nil, err
	}
	return &topic{client: client, name: c.Topic}, nil
}

// put produces the records and waits for all of them.
func (t *topic) put(ctx context.Context, records []record) []error {
	errs := make([]error, len(records))
	out := make([]*kgo.Record, len(records))
	index := make(map[*kgo.Record]int, len(records))
	for i := range records {
		out[i] = records[i].kafka()
		index[out[i]] = i
	}
	for _, result := range t.client.ProduceSync(ctx, out...) {
		i := index[result.Record]
		errs[i] = t.classify(result.Err, &records[i])
	}
	return errs
}

// classify makes what Kafka has against a record a matter for a person: the
// record is all that is left of the event.
func (t *topic) classify(err error, r *record) error {
	if err == nil {
		return nil
	}
	err = kafka.Classify(fmt.Errorf("poison topic %s: %w", t.name, err))
	if stage.ClassOf(err) == stage.BadEvent {
		return stage.Fatal(fmt.Errorf("event %v, a bad event of %d bytes, cannot be stored; is max.message.bytes of the topic too small? %w", r.id, len(r.payload), unclassed{err}))
	}
	return err
}

// unclassed hides the class of an error, not its text.
type unclassed struct{ err error }

func (u unclassed) Error() string { return u.err.Error() }

func (t *topic) close() { t.client.Close() }

// kafka is the record to produce.
func (r *record) kafka() *kgo.Record {
	out := &kgo.Record{Value: r.payload, Headers: r.headers()}
	if r.key != "" {
		out.Key = []byte(r.key)
	}
	return out
}

// headers are Watermill's four, for its tools, and ours.
func (r *record) headers() []kgo.RecordHeader {
	var h []kgo.RecordHeader
	add := func(key, value string) {
		if value != "" {
			h = append(h, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	add("reason_poisoned", r.reason)
	add("topic_poisoned", r.origin.Name)
	add("handler_poisoned", r.route)
	add("subscriber_poisoned", r.origin.Kind)

	add("x-dlq-event-id", r.id.String())
	add("x-dlq-original-kind", r.origin.Kind)
	add("x-dlq-original-topic", r.origin.Name)
	add("x-dlq-original-partition", strconv.Itoa(int(r.origin.Partition)))
	add("x-dlq-original-offset", strconv.FormatInt(r.offset, 10))
	add("x-dlq-original-timestamp", stamp(r.due))
	add("x-dlq-payload", r.form)
	add("x-dlq-schema-id", r.schemaID())
	add("x-dlq-pipeline", r.pipeline)
	add("x-dlq-route", r.route)
	add("x-dlq-stage", r.stage)
	add("x-dlq-instance", r.instance)
	add("x-dlq-error-class", r.class)
	add("x-dlq-error-type", r.errorType)
	add("x-dlq-error-message", r.reason)
	add("x-dlq-attempts", strconv.Itoa(r.attempts))
	add("x-dlq-first-failed-at", stamp(r.first))
	add("x-dlq-failed-at", stamp(r.last))
	if len(r.traceID) == 32 && len(r.spanID) == 16 {
		add("traceparent", "00-"+r.traceID+"-"+r.spanID+"-01")
	}
	return h
}

// schemaID is the id in the registry's frame, for what came from Kafka with
// one.
func (r *record) schemaID() string {
	if r.origin.Kind != "kafka" || r.form != formOriginal {
		return ""
	}
	id, _, ok := avro.Unframe(r.payload)
	if !ok {
		return ""
	}
	return strconv.Itoa(id)
}
