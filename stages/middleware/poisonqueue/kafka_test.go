package poisonqueue

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// cluster is a broker in memory and the resource that is connected to it.
func cluster(t *testing.T) (*kfake.Cluster, stage.Settings) {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	s := settings(nil, &bytes.Buffer{})
	c := kafka.Stage.New().(*kafka.Config)
	c.Brokers = strings.Join(broker.ListenAddrs(), ",")
	resource := s
	resource.Name = "kafka"
	opened, err := c.Open(context.Background(), resource)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Resource = func(name string) (any, error) {
		if name != "kafka" {
			return nil, errors.New("no resource " + name)
		}
		return opened, nil
	}
	return broker, s
}

func openKafkaQueue(t *testing.T) (*kfake.Cluster, *queue) {
	t.Helper()
	broker, s := cluster(t)
	q := open(t, &Config{Topic: "poison", Resource: "kafka", Max: 100}, s)
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	return broker, q
}

// read reads n records of the poison topic.
func read(t *testing.T, broker *kfake.Cluster, n int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics("poison"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func TestATopicGetsTheOriginalRecordAndTheFactsInHeaders(t *testing.T) {
	broker, q := openKafkaQueue(t)
	b := batch(3)
	e := b.Event(1)
	e.Raw, e.Due = []byte("\x00\x00\x00\x00\x07\xff\xfe"), 1767225600e9
	e.TraceID, e.SpanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	if err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("unknown schema")), 1)); err != nil || b.Outcome(1) != event.Poisoned || b.Count(event.Delivered) != 2 {
		t.Fatalf("got %v, row 1 %v", err, b.Outcome(1))
	}
	r := read(t, broker, 1)[0]
	if string(r.Key) != "key1" || !bytes.Equal(r.Value, e.Raw) {
		t.Errorf("key %q, value %q", r.Key, r.Value)
	}
	got := map[string]string{}
	for _, h := range r.Headers {
		got[h.Key] = string(h.Value)
	}
	for key, want := range map[string]string{
		"reason_poisoned": "unknown schema", "topic_poisoned": "log-events", "handler_poisoned": "r", "subscriber_poisoned": "kafka",
		"x-dlq-event-id": e.ID.String(), "x-dlq-original-kind": "kafka", "x-dlq-original-topic": "log-events", "x-dlq-original-partition": "2", "x-dlq-original-offset": "1",
		"x-dlq-original-timestamp": "2026-01-01T00:00:00Z", "x-dlq-payload": "original", "x-dlq-schema-id": "7", "x-dlq-pipeline": "p", "x-dlq-route": "r", "x-dlq-instance": "host-1",
		"x-dlq-error-class": "bad_event", "x-dlq-error-type": "*errors.errorString", "x-dlq-error-message": "unknown schema", "x-dlq-attempts": "1",
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	for _, key := range []string{"x-dlq-first-failed-at", "x-dlq-failed-at"} {
		if _, err := time.Parse(time.RFC3339Nano, got[key]); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestARecordWithoutAValueStaysOne(t *testing.T) {
	broker, q := openKafkaQueue(t)
	b := batch(1)
	b.Event(0).Raw = nil
	if err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("null value")), 0)); err != nil {
		t.Fatal(err)
	}
	if r := read(t, broker, 1)[0]; r.Value != nil || string(r.Key) != "key0" {
		t.Errorf("key %q, value %q", r.Key, r.Value)
	}
	local, db := openLocalQueue(t, 1)
	b = batch(1)
	b.Event(0).Raw = nil
	if err := run(context.Background(), local, b, refuse(stage.Bad(errors.New("null value")), 0)); err != nil {
		t.Fatal(err)
	}
	var form string
	var size int
	if err := db.QueryRow("SELECT payload_form, length(payload) FROM poison_queue").Scan(&form, &size); err != nil || form != "null" || size != 0 {
		t.Errorf("got %s of %d bytes, %v", form, size, err)
	}
}

// refuseProduce makes the broker answer the next n requests to produce with an
// error.
func refuseProduce(broker *kfake.Cluster, n int, code *kerr.Error) {
	broker.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if n == 0 {
			return nil, nil, false
		}
		n--
		broker.KeepControl()
		in := request.(*kmsg.ProduceRequest)
		out := in.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range in.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, code.Code
				answer.Partitions = append(answer.Partitions, p)
			}
			out.Topics = append(out.Topics, answer)
		}
		return out, nil, true
	})
}

func TestATopicThatMayNotBeWrittenNeedsAPersonAndLosesNothing(t *testing.T) {
	broker, q := openKafkaQueue(t)
	refuseProduce(broker, 1, kerr.TopicAuthorizationFailed)
	b := batch(3)
	err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("bad")), 0, 1, 2))
	if stage.ClassOf(err) != stage.Unfixable || b.Unsettled() == 0 || b.Count(event.Poisoned)+b.Count(event.Refused) != 3 {
		t.Fatalf("got %v, %d refused, %d poisoned", err, b.Count(event.Refused), b.Count(event.Poisoned))
	}
	if err := run(context.Background(), q, b, refuse(nil)); err != nil || b.Count(event.Poisoned) != 3 {
		t.Fatalf("once it may be: %v, %d poisoned", err, b.Count(event.Poisoned))
	}
	seen := map[string]bool{}
	for _, r := range read(t, broker, 3) {
		seen[string(r.Value)] = true
	}
	if len(seen) != 3 {
		t.Errorf("stored: %v", seen)
	}
}

func TestAnEventThatTheTopicCannotHoldIsAMatterForAPerson(t *testing.T) {
	_, q := openKafkaQueue(t)
	b := batch(2)
	b.Event(0).Raw = make([]byte, 3<<20)
	for i := range b.Event(0).Raw { // what cannot be compressed
		b.Event(0).Raw[i] = byte(i * i >> 7 * 31)
	}
	err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("bad")), 0, 1))
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "max.message.bytes") || b.Outcome(0) != event.Refused || b.Outcome(1) != event.Poisoned {
		t.Errorf("got %v, rows %v and %v", err, b.Outcome(0), b.Outcome(1))
	}
}

func TestAMissingResourceIsNamed(t *testing.T) {
	_, s := cluster(t)
	if _, err := (&Config{Topic: "poison", Resource: "eu", Max: 1}).Open(context.Background(), s); stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "eu") {
		t.Errorf("got %v", err)
	}
}

func TestExplainAndLinksNameTheTopic(t *testing.T) {
	c := &Config{Topic: "poison", Resource: "kafka", Max: 1}
	if links := c.Links(); len(links) != 1 || links[0] != (stage.Link{Writes: true, What: "kafka:kafka:poison"}) {
		t.Errorf("links: %+v", links)
	}
	if !strings.Contains(c.Explain().Does, "stored in the topic poison") || !strings.Contains((&Config{}).Explain().Crash, "the same row") || (&Config{}).Links()[0].What != "state:poison_queue" {
		t.Errorf("got %+v", c.Explain())
	}
}
