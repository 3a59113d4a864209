package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Finish asks where the partitions end now. Read returns io.EOF when this
// member has handed out its partitions up to there.
func (r *reader) Finish(ctx context.Context) error {
	var targets map[int32]int64
	err := r.ask(ctx, func(ctx context.Context) error {
		var err error
		targets, err = r.ends(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("topic %q: asking for its end: %w", r.cfg.Topic, err)
	}
	for {
		err := r.givenOut(ctx, targets)
		if err == nil {
			break
		}
		if !errors.Is(err, errNotGivenOut) || r.clock.Sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("topic %q, group %q: %w", r.cfg.Topic, r.cfg.Group, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finishing, r.targets = true, targets
	for _, p := range r.order {
		if end, ok := targets[p.number]; ok {
			p.target = end
		}
	}
	signal(r.wake)
	return nil
}

// ends of the partitions that hold something; none when there is no topic.
func (r *reader) ends(ctx context.Context) (map[int32]int64, error) {
	partitions, err := r.partitions(ctx)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ends, err := r.admin.ListCommittedOffsets(ctx, r.cfg.Topic)
	if err != nil {
		return nil, err
	}
	starts, err := r.admin.ListStartOffsets(ctx, r.cfg.Topic)
	if err != nil {
		return nil, err
	}
	targets := make(map[int32]int64)
	for number := range int32(partitions) {
		end, ok := ends[r.cfg.Topic][number]
		if !ok || end.Err != nil {
			// What the client remembers of the topic may be older than its
			// partitions: leaving one out here would skip its events.
			r.client.ForceMetadataRefresh()
			return nil, fmt.Errorf("partition %d: %w", number, cmp.Or(end.Err, error(kerr.UnknownTopicOrPartition)))
		}
		if end.Offset > listed(starts, r.cfg.Topic, number) {
			targets[number] = end.Offset
		}
	}
	return targets, nil
}

// partitions asks the brokers, not the client's memory, how many partitions
// the topic has.
func (r *reader) partitions(ctx context.Context) (int, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, kmsg.NewMetadataRequestTopic())
	req.Topics[0].Topic = &r.cfg.Topic
	resp, err := req.RequestWith(ctx, r.client)
	if err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 {
		return 0, kerr.UnknownTopicOrPartition
	}
	return len(resp.Topics[0].Partitions), kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

var errNotGivenOut = errors.New("the group has not given out all partitions yet")

// givenOut makes sure that somebody reads what Finish waits for. A member that
// joined before the topic was made has been given nothing, and gets its
// partitions in a moment; one that has nothing since others read it all is at
// its end.
func (r *reader) givenOut(ctx context.Context, targets map[int32]int64) error {
	r.mu.Lock()
	has := len(r.order) > 0
	r.mu.Unlock()
	if has || len(targets) == 0 {
		return nil
	}
	groups, err := r.admin.DescribeGroups(ctx, r.cfg.Group)
	if err != nil {
		return err
	}
	assigned := groups.AssignedPartitions()
	for number := range targets {
		if !assigned.Lookup(r.cfg.Topic, number) {
			r.client.ForceMetadataRefresh()
			return errNotGivenOut
		}
	}
	return nil
}

// finished reports whether Read is at the end. A member that is not in the
// group yet does not know what is its to read.
func (r *reader) finished() bool {
	if !r.finishing {
		return false
	}
	if len(r.targets) == 0 {
		return true
	}
	for _, p := range r.order {
		if !p.reached() {
			return false
		}
	}
	return r.joined
}

// skipHoles looks behind the position of partitions that Finish waits for
// although nothing comes: there may be no record left between it and the end,
// and then the client says nothing. Retention or compaction took them.
func (r *reader) skipHoles(ctx context.Context) {
	waiting := r.waiting()
	if len(waiting) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	details, err := r.admin.ListTopics(ctx, r.cfg.Topic)
	if err != nil {
		return // weather: asked again in a second
	}
	topic := details[r.cfg.Topic]
	for p, from := range waiting {
		fp, next, err := r.peek(ctx, topic.ID, topic.Partitions[p.number].Leader, p.number, from)
		switch {
		case errors.Is(err, kerr.OffsetOutOfRange) && from < fp.LogStartOffset:
			r.skip(p, from, fp.LogStartOffset, fp.LogStartOffset-from)
		case err == nil && len(fp.Records) == 0 && next > from:
			r.skip(p, from, next, 0)
		}
	}
}

// waiting is the partitions that Finish waits for, with their positions.
func (r *reader) waiting() map[*partition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := make(map[*partition]int64)
	for _, p := range r.order {
		if r.finishing && !p.reached() && p.expect != unknown && p.taken == p.expect {
			waiting[p] = p.expect
		}
	}
	return waiting
}

// peek fetches what is behind an offset, without consuming it.
func (r *reader) peek(ctx context.Context, id [16]byte, leader, number int32, from int64) (kgo.FetchPartition, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.IsolationLevel = fetchMaxBytes, 1
	topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, topic.TopicID = r.cfg.Topic, id
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = number, from, fetchMaxPartitionBytes
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	answer, err := r.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return kgo.FetchPartition{}, from, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return kgo.FetchPartition{}, from, errors.New("the broker did not answer for the partition")
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: r.cfg.Topic, Partition: number,
	}, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return fp, next, fp.Err
}

// skip moves a partition's position from one offset to the next, if it is
// still there.
func (r *reader) skip(p *partition, from, to, lost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone || p.leaving || p.expect != from || p.taken != from {
		return
	}
	if lost > 0 {
		r.countLost(p, from, to)
	}
	p.advance(to)
	signal(r.wake)
}
