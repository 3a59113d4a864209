package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/stages/resource/kafka"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const schemaFile = "../../../schemas/log_event.avsc"

// settings are what the engine hands out, in memory.
func settings(t testing.TB) stage.Settings {
	return stage.Settings{
		Pipeline: "test", Route: "route", Name: "kafka", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Clock: stage.SystemClock, Mount: func(string, http.Handler) error { return nil },
	}
}

// fake starts a broker whose faults the test decides.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// clusterAt opens the resource for brokers, with a registry of its own.
func clusterAt(t testing.TB, brokers string) *kafka.Cluster {
	t.Helper()
	c := kafka.Stage.New().(*kafka.Config)
	c.Brokers, c.Registry = brokers, "embedded"
	opened, err := c.Open(t.Context(), settings(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return opened.(*kafka.Cluster)
}

func config(change ...func(*Config)) *Config {
	c := Stage.New().(*Config)
	c.Topic, c.Partitions, c.Resource = "log-events", 3, "kafka"
	for _, f := range change {
		f(c)
	}
	return c
}

// openSink opens a sink with the patience that a busy machine needs; a test that
// is about the end of patience says so.
func openSink(t testing.TB, cluster *kafka.Cluster, change ...func(*Config)) *writer {
	t.Helper()
	patient := func(c *Config) { c.DeliveryTimeout = stage.Duration(2 * time.Minute) }
	w, err := config(append([]func(*Config){patient}, change...)...).Open(t.Context(), using(t, cluster))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background()) })
	return w.(*writer)
}

func using(t testing.TB, cluster *kafka.Cluster) stage.Settings {
	s := settings(t)
	s.Resource = func(string) (any, error) { return cluster, nil }
	return s
}

func events(n int) []event.Event {
	out := make([]event.Event, n)
	for i := range out {
		out[i] = event.Event{
			ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), Time: time.UnixMicro(1790000000000000 + int64(i)).UTC(), Level: event.LevelInfo,
			Source: "payment-service", Host: "node-17", Message: fmt.Sprintf("payment %d declined after 231 ms: insufficient funds", i),
			CorrelationID: fmt.Sprintf("correlation-%d", i%10),
			Attributes: []event.Attribute{{Key: "thread_id", Value: event.Int(int64(i % 4))}, {Key: "instance_id", Value: event.String("generator-1")},
				{Key: "request_id", Value: event.String("req-00042")}, {Key: "user_id", Value: event.Int(123456)}},
		}
	}
	return out
}

// consume reads n records of the topic.
func consume(t testing.TB, brokers []string, topic string, n int) (all []*kgo.Record) {
	t.Helper()
	consumeUntil(t, brokers, topic, func(r *kgo.Record) bool {
		all = append(all, r)
		return len(all) >= n
	})
	return all
}

// consumeUntil reads the topic until there is enough.
func consumeUntil(t testing.TB, brokers []string, topic string, enough func(*kgo.Record) bool) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for n := 0; ; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("only %d records are in the topic", n)
		}
		for _, r := range fetches.Records() {
			if n++; enough(r) {
				return
			}
		}
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
