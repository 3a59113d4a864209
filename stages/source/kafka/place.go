package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	askWithin = 5 * time.Second
	askAgain  = 250 * time.Millisecond
)

// place is called for partitions that were just assigned, with the offsets the
// group has for them, before the first fetch. It notes where reading begins,
// and counts what retention has deleted since the last commit.
//
// A start at the end or at a time is pinned here: what is that offset now becomes
// a position like any other, which the next commit makes durable. Otherwise a
// restart before the first commit would skip what came in between.
func (r *reader) place(ctx context.Context, all map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	offsets := all[r.cfg.Topic]
	topic, err := r.topicID(ctx)
	if err != nil {
		return nil, err
	}
	starts, ends, chosen, err := r.survey(ctx, offsets)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, offset := range offsets {
		if p := r.parts[number]; p != nil {
			p.ids = identify(topic, r.cfg.Topic, number)
			offsets[number] = r.begin(p, offset, listed(starts, r.cfg.Topic, number), listed(ends, r.cfg.Topic, number), listed(chosen, r.cfg.Topic, number))
		}
	}
	signal(r.wake) // the place may be the end already
	return all, nil
}

// begin decides where a partition begins; start and end are unknown when the
// brokers did not say.
func (r *reader) begin(p *partition, offset kgo.Offset, start, end, chosen int64) kgo.Offset {
	p.high = end
	at := offset.EpochOffset().Offset
	switch {
	case at >= 0 && start != unknown && at < start:
		p.committed = at
		p.place(start)
		r.countLost(p, at, start)
		return kgo.NewOffset().At(start)
	case at >= 0 && end != unknown && at > end:
		// The log was cut, or the topic made anew: nobody knows how much of what
		// is there was read. Reading it all again is harmless, skipping is not.
		p.committed = at
		p.place(start)
		r.log.Warn("the group's offset is beyond the end of the partition; reading it from its start",
			"partition", p.number, "committed_offset", at, "end_offset", end)
		return kgo.NewOffset().AtStart()
	case at >= 0:
		p.committed = at
		p.place(at)
	default:
		return r.fresh(p, start, end, chosen)
	}
	if given := r.cfg.Start.String(); given != (&Start{}).String() {
		r.nag.warn("the group has committed offsets and goes on there; start is for partitions without", "start", given)
	}
	return offset
}

// countLost notes that the topic no longer has the offsets from one to another
// although this group has not read them.
func (r *reader) countLost(p *partition, from, to int64) {
	r.lost += to - from
	r.log.Error("events were deleted by the topic's retention before they were read",
		"partition", p.number, "from_offset", from, "to_offset", to, "lost", to-from)
}

// topicID is the topic's id at its brokers: it tells one life of a topic from
// the next of the same name. Zero from brokers that have no such ids.
func (r *reader) topicID(ctx context.Context) (id kadm.TopicID, err error) {
	err = r.ask(ctx, func(ctx context.Context) error {
		details, err := r.admin.ListTopics(ctx, r.cfg.Topic)
		if err == nil {
			err = details[r.cfg.Topic].Err
		}
		id = details[r.cfg.Topic].ID
		return err
	})
	return id, err
}

// survey lists the first and the end offsets of the partitions, and where those
// begin that the group has no offset for.
func (r *reader) survey(ctx context.Context, offsets map[int32]kgo.Offset) (starts, ends, chosen kadm.ListedOffsets, err error) {
	err = r.ask(ctx, func(ctx context.Context) error {
		var err error
		starts, _ = r.admin.ListStartOffsets(ctx, r.cfg.Topic)
		if ends, err = r.admin.ListEndOffsets(ctx, r.cfg.Topic); err == nil {
			chosen, err = r.chosen(ctx, ends)
		}
		for number, offset := range offsets {
			if r.cfg.Start.must() && offset.EpochOffset().Offset < 0 && listed(chosen, r.cfg.Topic, number) == unknown {
				if err == nil {
					err = fmt.Errorf("partition %d: no offset to start at", number)
				}
				return err
			}
		}
		return nil
	})
	return starts, ends, chosen, err
}

// ask asks the brokers until they answer or the context ends.
func (r *reader) ask(ctx context.Context, question func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, askWithin)
		err := question(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.nag.warn("waiting for kafka", "error", err)
		if err := r.clock.Sleep(ctx, askAgain); err != nil {
			return err
		}
	}
}

// listed is the offset in an answer, if it is there.
func listed(offsets kadm.ListedOffsets, topic string, number int32) int64 {
	if o, ok := offsets.Lookup(topic, number); ok && o.Err == nil && o.Offset >= 0 {
		return o.Offset
	}
	return unknown
}
