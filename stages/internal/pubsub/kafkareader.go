package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

const (
	// pollRecords and queuedRecords bound what is fetched and not handed out.
	pollRecords   = 500
	queuedRecords = 2000
	// outRecords is how many messages of a partition may be handed out behind
	// the first that is not acked.
	outRecords = 500

	commitWithin = 5 * time.Second
	askAgain     = 250 * time.Millisecond
)

// subscription reads a topic as a member of a group. The pump moves what the
// client has fetched into the queues of the partitions; a lane for each
// partition (kafkalane.go) hands it out and follows the acks.
type subscription struct {
	Kafka
	log    *slog.Logger
	latest bool
	client *kgo.Client
	admin  *kadm.Client

	out     chan *message.Message
	trouble chan error
	ended   chan struct{}

	ready   chan struct{} // the client is there for its own callbacks
	life    context.Context
	end     context.CancelFunc
	working sync.WaitGroup

	mu        sync.Mutex
	lanes     map[int32]*lane
	queued    int
	room      chan struct{}
	joined    bool
	finishing bool
	isEnded   bool
	targets   map[int32]int64
}

// Reader reads the topic as a member of a group, as watermill-kafka would,
// and beside members that use it. It returns at once, whether or not the
// brokers can be reached.
func (k Kafka) Reader(group string, latest bool, codec Codec, log *slog.Logger) (*FinishingReader, error) {
	s := &subscription{
		Kafka: k, log: log.With("topic", k.Topic, "group", group), latest: latest,
		out: make(chan *message.Message), trouble: make(chan error, 1), ended: make(chan struct{}),
		ready: make(chan struct{}), room: make(chan struct{}, 1), lanes: map[int32]*lane{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	var err error
	if s.client, err = k.Client(s.options(group)...); err != nil {
		s.end()
		return nil, err
	}
	s.admin = kadm.NewClient(s.client)
	close(s.ready)
	s.working.Go(s.pump)
	r := newReader("watermill", k.Topic, codec, s.out, s.close)
	r.trouble, r.ended = s.trouble, s.ended
	return &FinishingReader{Reader: r, finish: s.finish}, nil
}

func (s *subscription) options(group string) []kgo.Opt {
	start := kgo.NewOffset().AtStart()
	if s.latest {
		start = kgo.NewOffset().AtEnd()
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(s.Topic), kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(kgo.RewindOffset(time.Minute)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),           // positions count transaction markers too
		kgo.Balancers(kgo.RangeBalancer()), // what sarama's members know
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
		kgo.BlockRebalanceOnPoll(), // until what was polled is in the queues
		kgo.OnPartitionsAssigned(s.assigned), kgo.AdjustFetchOffsetsFn(s.place),
		kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost),
		kgo.FetchMaxWait(500 * time.Millisecond), kgo.MetadataMinAge(500 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
	}
}

// pump moves what was fetched into the queues, while there is room.
func (s *subscription) pump() {
	for s.life.Err() == nil {
		if s.full() {
			select {
			case <-s.room:
			case <-s.life.Done():
			}
			continue
		}
		fetches := s.client.PollRecords(s.life, pollRecords)
		fetches.EachError(func(_ string, partition int32, err error) { s.report(partition, err) })
		fetches.EachRecord(s.enqueue)
		s.client.AllowRebalance()
	}
}

func (s *subscription) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued >= queuedRecords
}

func (s *subscription) enqueue(r *kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[r.Partition]; l != nil {
		l.queue = append(l.queue, r)
		s.queued++
		wake(l.more)
	}
}

// report tells Read of what only a person can mend; all else the client tries
// again.
func (s *subscription) report(partition int32, err error) {
	if s.life.Err() != nil {
		return
	}
	classified := s.Classify(fmt.Errorf("reading topic %s: %w", s.Topic, err))
	if stage.ClassOf(classified) != stage.Unfixable {
		s.log.Warn("the topic cannot be read now; trying again", "partition", partition, "error", err)
		return
	}
	select {
	case s.trouble <- classified:
	default:
	}
}

// assigned, place, revoked and lost are called by the client, one at a time,
// and never while what was polled is not in the queues yet.
func (s *subscription) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-s.ready
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, number := range added[s.Topic] {
		s.lanes[number] = s.newLane(number)
	}
	s.joined = true
	s.look()
}

// place notes where reading begins. A start at the latest offset is pinned: a
// restart before the first commit must not skip what came in between.
func (s *subscription) place(ctx context.Context, all map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	offsets := all[s.Topic]
	for number, offset := range offsets {
		at := offset.EpochOffset().Offset
		if at < 0 {
			listed, err := s.limit(ctx, number)
			if err != nil {
				return nil, err
			}
			at, offsets[number] = listed, kgo.NewOffset().At(listed)
		}
		s.mu.Lock()
		if l := s.lanes[number]; l != nil {
			l.taken = at
		}
		s.look()
		s.mu.Unlock()
	}
	return all, nil
}

// limit asks for the first or the end offset of a partition until the brokers
// say it.
func (s *subscription) limit(ctx context.Context, number int32) (int64, error) {
	ask := s.admin.ListStartOffsets
	if s.latest {
		ask = s.admin.ListEndOffsets
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, commitWithin)
		listed, err := ask(attempt, s.Topic)
		cancel()
		if o, ok := listed.Lookup(s.Topic, number); err == nil && ok && o.Err == nil && o.Offset >= 0 {
			return o.Offset, nil
		}
		if err := stage.SystemClock.Sleep(ctx, askAgain); err != nil {
			return 0, err
		}
	}
}

func (s *subscription) revoked(ctx context.Context, client *kgo.Client, taken map[string][]int32) {
	<-s.ready
	s.giveUp(taken[s.Topic])
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	if err := client.CommitMarkedOffsets(ctx); err != nil && s.life.Err() == nil {
		s.log.Warn("acks could not be committed; messages since the last commit will come again", "error", err)
	}
}

func (s *subscription) lost(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	<-s.ready
	s.giveUp(taken[s.Topic])
}

// giveUp ends the lanes of partitions. What is handed out of them comes again,
// here or elsewhere, unless its ack was heard.
func (s *subscription) giveUp(numbers []int32) {
	for _, number := range numbers {
		s.mu.Lock()
		l := s.lanes[number]
		delete(s.lanes, number)
		s.mu.Unlock()
		if l != nil {
			l.end()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	wake(s.room)
}

// finish finds out where the partitions end now.
func (s *subscription) finish(ctx context.Context) error {
	targets := map[int32]int64{}
	ends, err := s.admin.ListCommittedOffsets(ctx, s.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("topic %q: asking for its end: %w", s.Topic, err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			targets[o.Partition] = o.Offset
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishing, s.targets = true, targets
	s.look()
	return nil
}

// look sees whether the end is reached. The mutex is held.
func (s *subscription) look() {
	if !s.finishing || s.isEnded || !s.joined && len(s.targets) > 0 {
		return
	}
	for number, l := range s.lanes {
		if target, ok := s.targets[number]; ok && l.taken < target {
			return
		}
	}
	s.isEnded = true
	close(s.ended)
}

// close ends the lanes, commits what was acked and leaves the group.
func (s *subscription) close() error {
	s.end()
	s.working.Wait()
	s.client.AllowRebalance()
	s.mu.Lock()
	var numbers []int32
	for number := range s.lanes {
		numbers = append(numbers, number)
	}
	s.mu.Unlock()
	s.giveUp(numbers)
	ctx, cancel := context.WithTimeout(context.Background(), commitWithin)
	defer cancel()
	err := s.client.CommitMarkedOffsets(ctx)
	_ = s.client.LeaveGroupContext(ctx) // the group notices by itself when it was not told
	s.client.Close()
	if err != nil {
		return fmt.Errorf("topic %q: last commit: %w", s.Topic, err)
	}
	return nil
}

// wake tells one waiting goroutine to look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
