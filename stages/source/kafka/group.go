package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The client calls assigned, place, revoked and lostPartitions from a goroutine
// of its own, one at a time, and never while a poll is under way or what it
// brought is not in the queues yet. The first call may come before NewClient has
// returned.

const (
	commitEvery  = time.Second
	commitWithin = 3 * time.Second  // one that takes longer is tried again
	revokeWait   = 10 * time.Second // for events under way when a partition moves
	leaveWithin  = 5 * time.Second
)

// assigned is told what the group gives this member, if only that it gives
// nothing.
func (r *reader) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-r.opened
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, number := range added[r.cfg.Topic] {
		r.assign(newPartition(r.cfg.Topic, number, r.cfg.Workers))
	}
	r.joined = true
	signal(r.wake)
	signal(r.room)
}

// revoked gives partitions up without loss: it stops handing them out, waits
// for what is under way, commits, and only then lets the group go on. Events
// still under way after the wait are read again by the next member.
func (r *reader) revoked(ctx context.Context, _ *kgo.Client, taken map[string][]int32) {
	leaving := r.leave(taken[r.cfg.Topic])
	if len(leaving) == 0 {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, revokeWait)
	defer cancel()
	for _, p := range leaving {
		select {
		case <-p.quiet:
		case <-waiting.Done():
		}
	}
	if err := r.commit(ctx); err != nil {
		r.log.Warn("offsets of partitions that move could not be committed; events since the last commit will be read again", "error", err)
	}
	r.giveUp(leaving)
}

func (r *reader) leave(numbers []int32) []*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	var leaving []*partition
	for _, number := range numbers {
		if p := r.parts[number]; p != nil {
			p.leave()
			leaving = append(leaving, p)
		}
	}
	return leaving
}

func (r *reader) giveUp(parts []*partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		r.forget(p)
	}
	signal(r.wake)
	signal(r.room)
}

// lostPartitions is told when the group has put this member out: the partitions
// belong to others already, so nothing is committed.
func (r *reader) lostPartitions(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	<-r.opened
	r.mu.Lock()
	var gone []*partition
	for _, number := range taken[r.cfg.Topic] {
		if p := r.parts[number]; p != nil {
			gone = append(gone, p)
		}
	}
	r.joined = false
	r.mu.Unlock()
	r.giveUp(gone)
	if len(gone) > 0 {
		r.nag.warn("the group has given this member's partitions to others; events since the last commit will be read again", "partitions", len(gone))
	}
}

// commit tells the group how far every partition is settled. One at a time: an
// older position can never follow a newer one.
func (r *reader) commit(ctx context.Context) error {
	r.committing.Lock()
	defer r.committing.Unlock()
	parts, offsets := r.uncommitted()
	if len(parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error { return r.dropLost(req, parts) })
	var failed error
	r.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{r.cfg.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err == nil {
				failed = r.committed(resp, parts, offsets)
			}
		})
	if errors.Is(failed, errAllLost) {
		return nil
	}
	return failed
}

func (r *reader) uncommitted() (map[int32]*partition, map[int32]kgo.EpochOffset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts, offsets := make(map[int32]*partition), make(map[int32]kgo.EpochOffset)
	for _, p := range r.order {
		if p.settled != unknown && p.settled != p.committed {
			parts[p.number] = p
			offsets[p.number] = kgo.EpochOffset{Epoch: p.epoch, Offset: p.settled}
		}
	}
	return parts, offsets
}

var errAllLost = errors.New("the partitions to commit are no longer this member's")

// dropLost takes partitions out of a commit that have been lost since it was
// decided. The client calls it after it has put member and generation into the
// request: a loss that comes later makes these invalid, and the broker refuses
// the request; a loss before it is seen here. So an offset of a lost partition
// never gets into a newer assignment.
func (r *reader) dropLost(req *kmsg.OffsetCommitRequest, parts map[int32]*partition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		kept := t.Partitions[:0]
		for _, rp := range t.Partitions {
			if p := parts[rp.Partition]; p != nil && !p.gone {
				kept = append(kept, rp)
			}
		}
		t.Partitions = kept
		left += len(kept)
	}
	if left == 0 {
		return errAllLost
	}
	return nil
}

// committed notes what the group has taken.
func (r *reader) committed(resp *kmsg.OffsetCommitResponse, parts map[int32]*partition, offsets map[int32]kgo.EpochOffset) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed error
	for _, t := range resp.Topics {
		for _, rp := range t.Partitions {
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				failed = err
			} else if p := parts[rp.Partition]; p != nil {
				p.committed = offsets[rp.Partition].Offset
			}
		}
	}
	return failed
}
