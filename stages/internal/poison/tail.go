package poison

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// span is the part of a partition that a tail reads.
type span struct{ start, end int64 }

// spans asks where a topic's partitions begin and end now. A topic that is not
// there has none.
func spans(ctx context.Context, client *kgo.Client, topic string) (map[int32]span, error) {
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	all := make(map[int32]span)
	for partition, end := range ends[topic] {
		start, _ := starts.Lookup(topic, partition) // one that was made since begins at 0
		if err := errors.Join(end.Err, start.Err); err != nil {
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				return nil, nil
			}
			return nil, fmt.Errorf("topic %s, partition %d: %w", topic, partition, err)
		}
		all[partition] = span{start.Offset, end.Offset}
	}
	return all, nil
}

// size is how many records spans hold, at most.
func size(all map[int32]span) (n int64) {
	for _, s := range all {
		n += s.end - s.start
	}
	return n
}

// tail reads a topic from its beginning to where its end was when the tail was
// made.
type tail struct {
	topic  string
	admin  *kgo.Client
	client *kgo.Client // nil: there is nothing to read
	left   map[int32]span
}

// patience is how long a tail waits for records before it asks whether they
// are gone.
const patience = 3 * time.Second

func newTail(ctx context.Context, k *Kafka, admin *kgo.Client, topic string) (*tail, error) {
	all, err := spans(ctx, admin, topic)
	if err != nil {
		return nil, err
	}
	t := &tail{topic: topic, admin: admin, left: all}
	offsets := make(map[int32]kgo.Offset)
	for partition, s := range all {
		if s.start >= s.end {
			delete(all, partition)
			continue
		}
		offsets[partition] = kgo.NewOffset().At(s.start)
	}
	if len(offsets) == 0 {
		return t, nil
	}
	t.client, err = k.NewClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.KeepControlRecords(), // positions count transaction markers too
	)
	return t, err
}

// next is what came; io.EOF: the end is reached.
func (t *tail) next(ctx context.Context) ([]*kgo.Record, error) {
	for len(t.left) > 0 {
		polling, cancel := context.WithTimeout(ctx, patience)
		fetches := t.client.PollFetches(polling)
		cancel()
		if ctx.Err() != nil && fetches.NumRecords() == 0 { // the client does not bring these records a second time
			return nil, ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
				return nil, fmt.Errorf("reading topic %s: %w", t.topic, e.Err)
			}
		}
		if records := t.take(fetches); len(records) > 0 {
			return records, nil
		}
		if fetches.NumRecords() == 0 {
			if err := t.forget(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, io.EOF
}

// take picks the records before the ends. Headers and keys of control records
// mean nothing here.
func (t *tail) take(fetches kgo.Fetches) (records []*kgo.Record) {
	fetches.EachRecord(func(r *kgo.Record) {
		s, reading := t.left[r.Partition]
		if !reading {
			return
		}
		if r.Offset < s.end && !r.Attrs.IsControl() {
			records = append(records, r)
		}
		if r.Offset >= s.end-1 {
			delete(t.left, r.Partition)
		}
	})
	return records
}

// forget gives up on partitions whose rest was deleted by retention meanwhile.
func (t *tail) forget(ctx context.Context) error {
	now, err := spans(ctx, t.admin, t.topic)
	if err != nil {
		return err
	}
	for partition, s := range t.left {
		if is, ok := now[partition]; !ok || is.start >= s.end {
			delete(t.left, partition)
		}
	}
	return nil
}

func (t *tail) close() {
	if t.client != nil {
		t.client.Close()
	}
}

// each reads a whole topic.
func each(ctx context.Context, k *Kafka, admin *kgo.Client, topic string, do func(*kgo.Record)) error {
	t, err := newTail(ctx, k, admin, topic)
	if err != nil {
		return err
	}
	defer t.close()
	for {
		records, err := t.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			do(r)
		}
	}
}
