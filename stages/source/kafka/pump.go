package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// pump moves what the client has fetched into the queues. It does not poll
// while every partition still has something queued: the client's own buffer,
// then the broker, hold the rest. So only a partition that falls behind the
// others has to be paused.
func (r *reader) pump(ctx context.Context) {
	for ctx.Err() == nil {
		if !r.hungry() {
			select {
			case <-r.room:
			case <-ctx.Done():
			}
			continue
		}
		recreated := r.ingest(r.client.PollFetches(ctx))
		r.client.AllowRebalance()
		if recreated {
			r.renew()
		}
	}
}

// hungry reports whether some partition has nothing queued, or none is
// assigned.
func (r *reader) hungry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.order {
		if p.queued == 0 {
			return true
		}
	}
	return len(r.order) == 0
}

// ingest queues what was fetched. recreated: the topic is no longer the one
// that was joined.
func (r *reader) ingest(fetches kgo.Fetches) (recreated bool) {
	fetches.EachTopic(func(t kgo.FetchTopic) {
		for i := range t.Partitions {
			fp := &t.Partitions[i]
			if errors.Is(fp.Err, kerr.UnknownTopicID) {
				recreated = true
			} else if fp.Err != nil {
				r.trouble(fp.Partition, fp.Err)
			}
			if t.Topic == r.cfg.Topic {
				r.enqueue(fp)
			}
		}
	})
	signal(r.wake)
	return recreated
}

func (r *reader) enqueue(fp *kgo.FetchPartition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[fp.Partition]
	if p == nil || p.leaving {
		return
	}
	from := p.expect
	lost, back := p.enqueue(fp)
	if back {
		r.log.Warn("the partition's log was cut; reading it again from an earlier offset",
			"partition", p.number, "expected_offset", from, "offset", fp.Records[0].Offset)
		again := newPartition(r.cfg.Topic, p.number, r.cfg.Workers)
		again.ids, again.committed = p.ids, p.committed
		r.assign(again)
		again.enqueue(fp)
		return
	}
	if lost > 0 {
		r.countLost(p, from, from+lost)
	}
	if !p.paused && p.queuedBytes > bound(len(r.order)) {
		p.paused = true
		r.client.PauseFetchPartitions(r.only(p))
	}
}

// trouble sorts what the client could not mend by itself: what a person has to
// mend and what was corrupted goes to Read; the rest is waited for.
func (r *reader) trouble(partition int32, err error) {
	var session *kgo.ErrGroupSession
	var loss *kgo.ErrDataLoss
	switch classified := kafka.Classify(err); {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
	case stage.ClassOf(classified) == stage.Unfixable:
		r.fail(r.fatal(classified))
	case errors.As(err, &loss):
		r.log.Error("the brokers have lost records of a partition", "partition", partition, "error", err)
	case errors.As(err, &session):
		r.nag.warn("the group cannot be joined; trying again", "error", err)
	case kerr.IsRetriable(err):
		r.nag.warn("the topic cannot be read; trying again", "partition", partition, "error", err)
	default:
		r.fail(fmt.Errorf("topic %q, partition %d: %w", r.cfg.Topic, partition, err))
	}
}

// fatal says what a person has to mend, and where.
func (r *reader) fatal(err error) error {
	return stage.Fatal(fmt.Errorf("reading topic %q as group %q: %w", r.cfg.Topic, r.cfg.Group, err))
}

// renew begins with the topic anew: it was deleted and made again, which the
// client does not follow by itself.
func (r *reader) renew() {
	r.log.Warn("the topic was deleted and made again; reading the new one")
	r.client.PurgeTopicsFromConsuming(r.cfg.Topic)
	r.client.AddConsumeTopics(r.cfg.Topic)
}
