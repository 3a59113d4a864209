package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"millrace/benchmarks/internal/logevent"
)

// audit reads the topic and writes rows, with one connection and one batch
// under way for each partition, and commits once a second how far rows are
// written. It ends when it is told to.
func audit(ctx context.Context) error {
	a := &auditor{sql: newSQL(os.Getenv("TABLE"), os.Getenv("ATTRIBUTES_TABLE")), lanes: map[int32]*lane{}}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(8<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	a.client = client
	working, ctx := errgroup.WithContext(ctx)
	working.Go(func() error { return a.poll(ctx, working) })
	if err := working.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return client.CommitMarkedOffsets(context.Background())
}

type auditor struct {
	client *kgo.Client
	sql    statement
	lanes  map[int32]*lane
}

// lane is what waits of one partition.
type lane struct {
	mu    sync.Mutex
	queue []*kgo.Record
	more  chan struct{} // something is queued
	room  chan struct{} // there is room again
}

// ahead is how many records of a partition may wait.
const ahead = 10_000

func (a *auditor) poll(ctx context.Context, working *errgroup.Group) error {
	for ctx.Err() == nil {
		fetches := a.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		var full *lane
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			l := a.lanes[p.Partition]
			if l == nil {
				l = &lane{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
				a.lanes[p.Partition] = l
				working.Go(func() error { return a.work(ctx, l) })
			}
			if l.add(p.Records) > ahead {
				full = l
			}
		})
		if full != nil {
			select {
			case <-full.room:
			case <-ctx.Done():
			}
		}
	}
	return ctx.Err()
}

func (l *lane) add(records []*kgo.Record) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, records...)
	select {
	case <-l.room:
	default:
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(l.queue)
}

// next copies the next batch.
func (l *lane) next(ctx context.Context, batch []*kgo.Record) ([]*kgo.Record, error) {
	for {
		l.mu.Lock()
		n := min(len(l.queue), size)
		batch = append(batch[:0], l.queue[:n]...)
		l.queue = l.queue[n:]
		if len(l.queue) <= ahead {
			select {
			case l.room <- struct{}{}:
			default:
			}
		}
		l.mu.Unlock()
		if n > 0 {
			return batch, nil
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// work writes the batches of one partition, one after the other.
func (a *auditor) work(ctx context.Context, l *lane) error {
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err := conn.Prepare(ctx, "insert", a.sql.text); err != nil {
		return err
	}
	var (
		batch []*kgo.Record
		row   logevent.Row
		cols  = newColumns(a.sql.attributes)
	)
	for {
		if batch, err = l.next(ctx, batch); err != nil {
			return err
		}
		cols.reset()
		for _, r := range batch {
			if err := logevent.Decode(r.Value[logevent.FrameSize:], &row); err != nil {
				return fmt.Errorf("partition %d, offset %d: %w", r.Partition, r.Offset, err)
			}
			cols.add(&row)
		}
		// A batch that has begun is finished also when the end was asked for.
		result := conn.PgConn().ExecPrepared(context.WithoutCancel(ctx), "insert", cols.params(), binaryFormat, binaryFormat).Read()
		if result.Err != nil {
			return result.Err
		}
		a.client.MarkCommitRecords(batch[len(batch)-1])
	}
}
