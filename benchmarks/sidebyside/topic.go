package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cluster is the view of Kafka that is neither side's.
type cluster struct {
	client *kgo.Client
	admin  *kadm.Client
}

func newCluster() (*cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")))
	if err != nil {
		return nil, err
	}
	return &cluster{client, kadm.NewClient(client)}, nil
}

// create makes a topic in which the broker writes down when records arrived.
func (c *cluster) create(ctx context.Context, topic string) error {
	arrival := "LogAppendTime"
	_, err := c.admin.CreateTopic(ctx, 3, 1, map[string]*string{"message.timestamp.type": &arrival}, topic)
	return err
}

func (c *cluster) remove(topics ...string) {
	// Not b.ctx: it may have ended, and what is left would be in the way.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = c.admin.DeleteTopics(ctx, topics...) // what cannot be removed is only disk space
}

// count is how many records the topic has.
func (c *cluster) count(ctx context.Context, topic string) (int, error) {
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, err
	}
	n := int64(0)
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return int(n), nil
}

// arrived is how many records a topic has and the time from the first one's
// arrival to the last one's, by the broker's clock.
func (c *cluster) arrived(ctx context.Context, topic string) (int, float64, error) {
	n, err := c.count(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	first, err := c.first(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	latest, err := c.admin.ListMaxTimestampOffsets(ctx, topic)
	if err == nil {
		err = latest.Error()
	}
	if err != nil {
		return 0, 0, err
	}
	last := int64(0)
	latest.Each(func(o kadm.ListedOffset) { last = max(last, o.Timestamp) })
	if last <= first.UnixMilli() {
		return 0, 0, fmt.Errorf("%d records arrived within a millisecond: too few to measure", n)
	}
	return n, float64(last-first.UnixMilli()) / 1000, nil
}

// first is when the first record of any partition arrived.
func (c *cluster) first(ctx context.Context, topic string) (time.Time, error) {
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return time.Time{}, err
	}
	var earliest time.Time
	var failed error
	starts.Each(func(o kadm.ListedOffset) {
		r, err := c.one(ctx, topic, o.Partition)
		failed = errors.Join(failed, err)
		if err == nil && (earliest.IsZero() || r.Timestamp.Before(earliest)) {
			earliest = r.Timestamp
		}
	})
	return earliest, failed
}

// one reads the first record of a partition.
func (c *cluster) one(ctx context.Context, topic string, partition int32) (*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reader, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")), kgo.FetchMaxPartitionBytes(1<<10),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	for {
		fetches := reader.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading the first record of partition %d: %w", partition, err)
		}
		if records := fetches.Records(); len(records) > 0 {
			return records[0], nil
		}
	}
}

// committed is how many records the group has said it is done with.
func (c *cluster) committed(ctx context.Context, group, topic string) (int, error) {
	offsets, err := c.admin.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil {
		return 0, err
	}
	n := int64(0)
	offsets.Each(func(o kadm.OffsetResponse) { n += max(o.At, 0) })
	return int(n), nil
}
