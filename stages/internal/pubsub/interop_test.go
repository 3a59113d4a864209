// These tests hold this package against watermill-kafka itself. With
// KAFKA_BROKERS they run against that Kafka too.

package pubsub

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	watermillkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// kafkas are the brokers to try, each with a new topic.
func kafkas(t *testing.T, test func(t *testing.T, k Kafka, brokers []string, theirs func() *sarama.Config)) {
	metrics.UseNilMetrics = true // its clock never stops
	t.Run("kfake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		// This sarama gets no offsets from kfake by the later protocols.
		test(t, at(c.ListenAddrs(), "orders"), c.ListenAddrs(), func() *sarama.Config { return careful(sarama.V2_0_0_0) })
	})
	if os.Getenv("KAFKA_BROKERS") == "" {
		return
	}
	t.Run("Kafka", func(t *testing.T) {
		brokers := strings.Split(os.Getenv("KAFKA_BROKERS"), ",")
		k := at(brokers, "interop-"+uuid.NewString())
		client, err := k.Client()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		admin := kadm.NewClient(client)
		if _, err := admin.CreateTopic(wait(t), 3, 1, nil, k.Topic); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = admin.DeleteTopic(context.Background(), k.Topic) })
		test(t, k, brokers, func() *sarama.Config { return careful(sarama.V2_8_0_0) })
	})
}

// careful is how a careful service sets up sarama: the default for watermill is
// a protocol that Kafka 4 does not speak, and acks of the leader only.
func careful(version sarama.KafkaVersion) *sarama.Config {
	c := watermillkafka.DefaultSaramaSubscriberConfig()
	c.Version = version
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	return c
}

func byCustomer(_ string, msg *message.Message) (string, error) {
	return msg.Metadata.Get("customer"), nil
}

func TestMessagesOfWatermillKafkaAreReadAndWrittenUnchanged(t *testing.T) {
	kafkas(t, func(t *testing.T, k Kafka, brokers []string, theirs func() *sarama.Config) {
		marshaler := watermillkafka.NewWithPartitioningMarshaler(byCustomer)
		pub, err := watermillkafka.NewPublisher(watermillkafka.PublisherConfig{
			Brokers: brokers, Marshaler: marshaler, OverwriteSaramaConfig: theirs()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := map[string]*message.Message{}
		for i := range 50 {
			msg := message.NewMessage(fmt.Sprintf("not-a-uuid-%d", i), fmt.Appendf(nil, "payload %d \xff\x00", i))
			msg.Metadata.Set("name", "OrderPaid")
			msg.Metadata.Set("customer", fmt.Sprint("customer-", i%5))
			msg.Metadata.Set("correlation_id", fmt.Sprint("c-", i))
			if err := pub.Publish(k.Topic, msg); err != nil {
				t.Fatal(err)
			}
			sent[msg.UUID] = msg
		}
		if err := pub.Close(); err != nil {
			t.Fatal(err)
		}

		read := all(t, k.open(t, Raw), event.Delivered)
		if len(read) != 50 {
			t.Fatalf("read %d of 50 messages", len(read))
		}
		k.publish(t, Raw, func(e *event.Event) string { return e.Key }, read...)

		// Their subscriber reads the first fifty, which they wrote, and ours.
		sub, err := watermillkafka.NewSubscriber(watermillkafka.SubscriberConfig{
			Brokers: brokers, Unmarshaler: marshaler, ConsumerGroup: "service-" + k.Topic, OverwriteSaramaConfig: theirs()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		messages, err := sub.Subscribe(wait(t), k.Topic)
		if err != nil {
			t.Fatal(err)
		}
		times, partition := map[string]int{}, map[string]int32{}
		for n := range 100 {
			select {
			case got := <-messages:
				if !got.Equals(sent[got.UUID]) {
					t.Fatalf("%v %v %q", got.UUID, got.Metadata, got.Payload)
				}
				at, _ := watermillkafka.MessagePartitionFromCtx(got.Context())
				customer := got.Metadata.Get("customer")
				if before, seen := partition[customer]; seen && before != at {
					t.Errorf("%s is in partitions %d and %d", customer, before, at)
				}
				key, _ := watermillkafka.MessageKeyFromCtx(got.Context())
				if string(key) != customer {
					t.Errorf("key %q, want %q", key, customer)
				}
				partition[customer] = at
				times[got.UUID]++
				got.Ack()
			case <-wait(t).Done():
				t.Fatalf("watermill-kafka read %d of 100 messages", n)
			}
		}
		for id, n := range times {
			if n != 2 {
				t.Errorf("%s was read %d times, want once as written there and once as written here", id, n)
			}
		}
	})
}

// A user's own watermill-kafka, in a program with a main of its own.
func TestTheirPublisherAndSubscriberServeARoute(t *testing.T) {
	kafkas(t, func(t *testing.T, k Kafka, brokers []string, theirs func() *sarama.Config) {
		pub, err := watermillkafka.NewPublisher(watermillkafka.PublisherConfig{
			Brokers: brokers, Marshaler: watermillkafka.DefaultMarshaler{}, OverwriteSaramaConfig: theirs()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(JSON, OneByOne(pub, k.Topic), func(context.Context) error { return pub.Close() })
		b := event.NewBatch(numbered(20))
		if err := w.Write(wait(t), b); err != nil || b.FirstErr(event.Open) != nil {
			t.Fatal(err, b.FirstErr(event.Open))
		}
		if err := w.Close(wait(t)); err != nil {
			t.Fatal(err)
		}
		// Read ten, stop, read the rest: no ack is lost.
		seen := map[string]int{}
		for range 2 {
			sub, err := watermillkafka.NewSubscriber(watermillkafka.SubscriberConfig{
				Brokers: brokers, Unmarshaler: watermillkafka.DefaultMarshaler{}, ConsumerGroup: "own-" + k.Topic,
				OverwriteSaramaConfig: theirs()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Subscribe(t.Context(), "own", sub, k.Topic, JSON)
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				p, err := r.Read(wait(t))
				if err != nil {
					t.Fatal(err)
				}
				seen[p.Events[0].Message]++
				settle(p, event.Delivered)
			}
			if err := r.Close(wait(t)); err != nil {
				t.Error(err)
			}
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
		}
		if len(seen) != 20 {
			t.Errorf("%d different events of 20: %v", len(seen), seen)
		}
	})
}

// Members with watermill-kafka and this package share a group's partitions.
func TestAGroupMayHaveMembersOfBothKinds(t *testing.T) {
	kafkas(t, func(t *testing.T, k Kafka, brokers []string, theirs func() *sarama.Config) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		sub, err := watermillkafka.NewSubscriber(watermillkafka.SubscriberConfig{
			Brokers: brokers, Unmarshaler: watermillkafka.DefaultMarshaler{}, ConsumerGroup: "readers", OverwriteSaramaConfig: theirs()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		messages, err := sub.Subscribe(ctx, k.Topic)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan string)
		go func() {
			for msg := range messages {
				msg.Ack()
				select {
				case read <- "theirs " + msg.UUID:
				case <-ctx.Done():
				}
			}
		}()
		r := k.open(t, JSON)
		go func() {
			for {
				p, err := r.Read(ctx)
				if err != nil {
					return
				}
				settle(p, event.Delivered)
				select {
				case read <- "ours " + p.Events[0].ID.String():
				case <-ctx.Done():
				}
			}
		}()
		// Events go on until both have read some: joining takes a moment.
		by, enough := map[string]bool{}, wait(t)
		for round := 0; !by["theirs"] || !by["ours"]; round++ {
			b := stagetest.Events(fmt.Sprint("a", round), fmt.Sprint("b", round), fmt.Sprint("c", round), fmt.Sprint("d", round))
			k.publish(t, JSON, func(e *event.Event) string { return e.ID.String() }, b...)
			for range b {
				select {
				case said := <-read:
					who, _, _ := strings.Cut(said, " ")
					by[who] = true
				case <-enough.Done():
					t.Fatalf("read by %v only", by)
				}
			}
			_ = stage.SystemClock.Sleep(t.Context(), 100e6)
		}
		stop()
	})
}
