package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/engine/stage"
)

const (
	trimEvery = 5 * time.Second
	// groupLives is how long a group without members holds back what it has
	// not read, from its last commit on. Kafka forgets it after the same time.
	groupLives = 7 * 24 * time.Hour
	// heldEvery is how often a partition that cannot be trimmed is mentioned.
	heldEvery = time.Minute
)

// trimmer keeps the embedded broker's disk bounded. Kafka's own retention
// takes no notice of consumers; here a topic is the only copy of what a
// pipeline has accepted, so that records wait for every group that reads them.
type trimmer struct {
	broker *broker
	admin  *kadm.Client
	now    func() time.Time // the broker's own: it stamps commits with the time of day
	log    *slog.Logger
	said   map[string]time.Time // by topic/partition: when it was last said to be held back
}

// keepBounded starts the trimming; stopTrimming ends it.
func (b *broker) keepBounded(c *Cluster, s stage.Settings) error {
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.stopped = cancel, make(chan struct{})
	t := &trimmer{broker: b, admin: kadm.NewClient(client), now: time.Now, log: s.Log, said: map[string]time.Time{}}
	go func() {
		defer close(b.stopped)
		defer client.Close()
		t.run(ctx)
	}()
	return nil
}

func (b *broker) stopTrimming() {
	if b.stop != nil {
		b.stop()
		<-b.stopped
	}
}

func (t *trimmer) run(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := t.trim(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("embedded broker: could not look for records to remove", "error", err)
		}
	}
}

// trim removes what is beyond each topic's retention and read by all groups.
func (t *trimmer) trim(ctx context.Context) error {
	topics, err := t.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	groups, err := t.admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	var live []*kfake.GroupInfo
	for name := range groups {
		if g := t.broker.cluster.GroupInfo(name); g != nil && t.alive(g) {
			live = append(live, g)
		}
	}
	cut := kadm.Offsets{}
	for name := range topics {
		if err := t.plan(ctx, cut, name, live); err != nil {
			return err
		}
	}
	if len(cut) == 0 {
		return nil
	}
	removed, err := t.admin.DeleteRecords(ctx, cut)
	if err == nil {
		err = removed.Error()
	}
	if err != nil {
		return fmt.Errorf("remove records: %w", err)
	}
	return nil
}

// alive says whether a group still counts as a reader.
func (t *trimmer) alive(g *kfake.GroupInfo) bool {
	if len(g.Members) > 0 {
		return true
	}
	for _, partitions := range g.Commits {
		for _, commit := range partitions {
			if t.now().Sub(commit.At) < groupLives {
				return true
			}
		}
	}
	return false
}

// plan decides for a topic's partitions up to where records go.
func (t *trimmer) plan(ctx context.Context, cut kadm.Offsets, topic string, live []*kfake.GroupInfo) error {
	info := t.broker.cluster.TopicInfo(topic)
	if info == nil {
		return nil // deleted meanwhile
	}
	expired, err := t.expired(ctx, info)
	if err != nil {
		return err
	}
	bound := configured(info, "retention.bytes", t.broker.retention)
	for _, p := range t.broker.cluster.PartitionInfos(topic) {
		wanted := max(beyond(p, bound), expired[p.Partition])
		allowed := floor(live, topic, p)
		if wanted > allowed {
			t.held(topic, p, wanted-allowed)
		}
		if to := min(wanted, allowed); to > p.LogStartOffset {
			cut.AddOffset(topic, p.Partition, to, -1)
		}
	}
	return nil
}

// expired finds the first offset of each partition that is young enough. A
// topic that sets no time has none: events may be older than the topic, such as
// those of a file that is read in, and Kafka's week would take them at once.
func (t *trimmer) expired(ctx context.Context, info *kfake.TopicInfo) (map[int32]int64, error) {
	keep := configured(info, "retention.ms", -1)
	if keep < 0 {
		return nil, nil
	}
	listed, err := t.admin.ListOffsetsAfterMilli(ctx, t.now().UnixMilli()-keep, info.Topic)
	if err != nil {
		return nil, fmt.Errorf("offsets by time: %w", err)
	}
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			out[o.Partition] = o.Offset
		}
	})
	return out, nil
}

// beyond is the offset before which a partition holds more than bound. The
// broker tells sizes only of whole partitions, so it is found by the average
// size of a record, and approached from one round to the next.
func beyond(p *kfake.PartitionInfo, bound int64) int64 {
	records := p.HighWatermark - p.LogStartOffset
	if bound < 0 || p.NumBytes <= bound || records <= 0 {
		return p.LogStartOffset
	}
	share := float64(p.NumBytes-bound) / float64(p.NumBytes)
	return p.LogStartOffset + int64(math.Ceil(share*float64(records)))
}

// floor is the offset that no record may be removed from: the lowest that a
// live group of the topic has yet to read. A group that reads the topic and
// has committed nothing of a partition may want all of it.
func floor(live []*kfake.GroupInfo, topic string, p *kfake.PartitionInfo) int64 {
	lowest := p.HighWatermark
	for _, g := range live {
		commits, reads := g.Commits[topic]
		if !reads && !subscribed(g, topic) {
			continue
		}
		if commit, ok := commits[p.Partition]; ok {
			lowest = min(lowest, commit.Offset)
		} else {
			lowest = min(lowest, p.LogStartOffset)
		}
	}
	return lowest
}

func subscribed(g *kfake.GroupInfo, topic string) bool {
	for i := range g.Members {
		if len(g.Members[i].Assignment[topic]) > 0 {
			return true
		}
		for _, name := range g.Members[i].SubscribedTopics {
			if name == topic {
				return true
			}
		}
	}
	return false
}

// held says that a partition grows beyond its bound, and why.
func (t *trimmer) held(topic string, p *kfake.PartitionInfo, records int64) {
	key := topic + "/" + strconv.Itoa(int(p.Partition))
	now := t.now()
	if now.Sub(t.said[key]) < heldEvery {
		return
	}
	t.said[key] = now
	t.log.Warn("embedded broker: a topic grows beyond its retention because a consumer group has not read it yet",
		"topic", topic, "partition", p.Partition, "bytes", p.NumBytes, "records_held", records)
}

// configured is a number among a topic's configs.
func configured(info *kfake.TopicInfo, key string, otherwise int64) int64 {
	text := info.Configs[key]
	if text == nil {
		return otherwise
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}
