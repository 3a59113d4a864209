package poison

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
)

// Forwarder writes replayed events to a topic, as they were received.
type Forwarder struct {
	kafka  *Kafka
	client *kgo.Client
	topic  string
}

// NewForwarder makes one; close it. The topic must be there.
func NewForwarder(k *Kafka, topic string) (*Forwarder, error) {
	client, err := k.NewClient(kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(maxRecord), kgo.RecordDeliveryTimeout(deliveryTimeout), kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		return nil, err
	}
	return &Forwarder{k, client, topic}, nil
}

// Forward writes the events of a parcel and settles those that Kafka has
// acknowledged. The others are returned, and their error with them.
func (f *Forwarder) Forward(ctx context.Context, p event.Parcel) error {
	records := make([]*kgo.Record, len(p.Events))
	index := make(map[*kgo.Record]int, len(records))
	unread := make(map[int]bool)
	for _, refusal := range p.Refused {
		unread[refusal.Index] = true
	}
	for i := range p.Events {
		records[i] = forwarded(&p.Events[i], p.Origin, !unread[i])
		index[records[i]] = i
	}
	receipt := event.Receipt{}
	var failed error
	for _, result := range f.client.ProduceSync(ctx, records...) {
		if result.Err == nil {
			receipt.Counts[event.Delivered]++
			continue
		}
		failed = stage.Worse(failed, f.kafka.Classify(result.Err))
		receipt.Counts[event.Returned]++
		receipt.Exceptions = append(receipt.Exceptions, event.Exception{Index: index[result.Record], Outcome: event.Returned, Err: result.Err})
	}
	p.Done(receipt)
	if failed != nil {
		return fmt.Errorf("topic %s: %w", f.topic, errors.Join(failed, ctx.Err()))
	}
	return nil
}

// forwarded is the record of an event, with what its source gave it in a
// header. One that was made in a pipeline has no original bytes: it is written
// as JSON. A record without a value stays one.
func forwarded(e *event.Event, from event.Origin, wasRead bool) *kgo.Record {
	r := &kgo.Record{Value: e.Raw}
	if e.Key != "" {
		r.Key = []byte(e.Key)
	}
	r.Headers = []kgo.RecordHeader{
		{Key: idHeader, Value: []byte(e.ID.String())},
		{Key: ReplayHeader, Value: strconv.AppendInt(nil, int64(e.Replays), 10)},
	}
	if len(e.TraceID) == 32 && len(e.SpanID) == 16 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("00-" + e.TraceID + "-" + e.SpanID + "-01")})
	}
	switch {
	case e.Raw != nil:
		if given := givenBeside(e, from, wasRead); given != nil {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: givenHeader, Value: given})
		}
	case from.Kind != "kafka":
		r.Value = eventjson.Append(nil, e)
	}
	return r
}

// givenBeside is what a reader of the topic cannot know from the bytes of an
// event, its time and trace included.
func givenBeside(e *event.Event, from event.Origin, wasRead bool) []byte {
	entry := Entry{Form: FormOriginal, Payload: e.Raw}
	entry.Origin.Kind = from.Kind
	if e.Message != "" && e.Message == string(e.Raw) {
		entry.Form = FormText
	}
	return Given(&entry, e, wasRead)
}

// Close lets go.
func (f *Forwarder) Close() { f.client.Close() }
