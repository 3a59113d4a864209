package evidence

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patience bounds each question to a broker or a database.
const patience = 3 * time.Minute

// OpenEmbedded serves what an engine that has ended kept of its embedded broker
// below its state directory, and returns the address.
func OpenEmbedded(t testing.TB, state string) (brokers string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(state, "kafka", "broker")))
	if err != nil {
		t.Fatalf("reading the embedded broker of %s: %v", state, err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// Records reads all records of a topic, in order within each partition; none
// when there is no such topic.
func Records(t testing.TB, brokers, topic string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// A fetch that waits at the end of one partition holds up the others.
	client := newClient(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond))
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatalf("the ends of topic %s: %v", topic, err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var records []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("topic %s could not be read to its end; what is left: %v", topic, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[topic][r.Partition].Offset {
				return
			}
			records = append(records, r)
			if r.Offset == ends[topic][r.Partition].Offset-1 {
				delete(left, r.Partition)
			}
		})
	}
	return records
}

// CreateTopic makes a topic before an engine does.
func CreateTopic(t testing.TB, brokers, topic string, partitions int32) {
	t.Helper()
	client := newClient(t, brokers)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		t.Fatalf("making topic %s: %v", topic, err)
	}
}

// DeleteTopics takes away what a test has left on a broker that others use.
func DeleteTopics(t testing.TB, brokers string, topics ...string) {
	t.Helper()
	client := newClient(t, brokers)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := kadm.NewClient(client).DeleteTopics(ctx, topics...); err != nil {
		t.Errorf("deleting topics %v: %v", topics, err)
	}
}

// Produce writes records to the partitions that they name.
func Produce(t testing.TB, brokers string, records ...*kgo.Record) {
	t.Helper()
	client := newClient(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("producing: %v", err)
	}
}

func newClient(t testing.TB, brokers string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers), kgo.DisableClientMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
