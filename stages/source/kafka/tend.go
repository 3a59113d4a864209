package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

const (
	patience    = 2 * time.Second // before it is said that something is waited for
	lookEvery   = 5 * time.Second // at what is waited for
	freshenHigh = 5 * time.Second // the lag of partitions that are not fetched
)

// tend does what has to be done now and then: commits, saying what is waited
// for, looking for the end.
func (r *reader) tend(ctx context.Context) {
	opened, looked, freshened := r.clock.Now(), time.Time{}, r.clock.Now()
	for r.clock.Sleep(ctx, commitEvery) == nil {
		// Not ctx: an interrupted commit might overtake the one of Close.
		if err := r.commit(context.WithoutCancel(ctx)); err != nil {
			r.nag.warn("offsets cannot be committed; trying again", "error", err)
		}
		r.skipHoles(ctx)
		now := r.clock.Now()
		if now.Sub(opened) > patience && now.Sub(looked) > lookEvery && !r.isJoined() {
			r.sayWhy(ctx)
			looked = r.clock.Now()
		}
		if now.Sub(freshened) > freshenHigh {
			r.freshen(ctx)
			freshened = r.clock.Now()
		}
	}
}

func (r *reader) isJoined() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.joined
}

// sayWhy finds out why the group is not joined yet.
func (r *reader) sayWhy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	details, err := r.admin.ListTopics(ctx, r.cfg.Topic)
	if err == nil {
		err = details[r.cfg.Topic].Err
	}
	switch {
	case err == nil:
		r.nag.warn("waiting for the group to give out its partitions")
	case stage.ClassOf(kafka.Classify(err)) == stage.Unfixable:
		r.fail(r.fatal(kafka.Classify(err)))
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		r.nag.warn("waiting for the topic to be made", "error", err)
	case !errors.Is(err, context.Canceled):
		r.nag.warn("waiting for kafka", "error", err)
	}
}

// freshen asks for the high watermarks when there is more queued than is taken:
// what is not fetched tells no high watermark, and that is when lag matters.
func (r *reader) freshen(ctx context.Context) {
	if !r.behind() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	ends, err := r.admin.ListEndOffsets(ctx, r.cfg.Topic)
	if err != nil {
		return // the lag stays what it was
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.order {
		p.high = max(p.high, listed(ends, r.cfg.Topic, p.number))
	}
}

func (r *reader) behind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.order {
		if p.queued > 0 {
			return true
		}
	}
	return false
}
