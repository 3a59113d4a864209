package kafka

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	fetchKey = []kmsg.Key{kmsg.Fetch}
	notNow   = kerr.NotLeaderForPartition
)

// crash ends a reader as a killed process would: what was not committed by now
// is not.
func crash(t testing.TB, r *reader) {
	t.Helper()
	r.mu.Lock()
	for len(r.order) > 0 {
		r.forget(r.order[0])
	}
	r.mu.Unlock()
	shut(t, r)
}

func TestAfterACrashNoEventIsMissing(t *testing.T) {
	l := cluster(t, 3)
	client := producer(t, l)
	const each = 5000
	for n := range int32(3) {
		produce(t, client, messages(n, 0, each)...)
	}
	seen := make(map[string]bool)
	for life := range 4 {
		r := l.open(t)
		for range 3 + life {
			p, _ := read(t, r)
			for _, m := range texts(p) {
				seen[m] = true
			}
			delivered(p)
			if life%2 == 0 {
				_ = r.commit(t.Context())
			}
		}
		unsettled, _ := read(t, r) // under way when it dies
		_ = unsettled
		crash(t, r)
	}
	r := l.open(t)
	defer shut(t, r)
	for _, m := range drain(t, r) {
		seen[m] = true
	}
	if len(seen) != 3*each {
		t.Errorf("%d of %d events came", len(seen), 3*each)
	}
}

// consumer reads and delivers from its own goroutine until it is stopped.
type consumer struct {
	r    *reader
	stop context.CancelFunc
	done chan struct{}
	mu   sync.Mutex
	seen map[string]int
}

func consume(r *reader) *consumer {
	ctx, stop := context.WithCancel(context.Background())
	c := &consumer{r: r, stop: stop, done: make(chan struct{}), seen: make(map[string]int)}
	go func() {
		defer close(c.done)
		for {
			p, err := r.Read(ctx)
			if err != nil {
				return
			}
			c.mu.Lock()
			for _, m := range texts(p) {
				c.seen[m]++
			}
			c.mu.Unlock()
			delivered(p)
		}
	}()
	return c
}

func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func (c *consumer) close(t testing.TB) {
	c.stop()
	<-c.done
	shut(t, c.r)
}

func TestMembersThatComeAndGoReadEverythingBetweenThem(t *testing.T) {
	l := cluster(t, 4)
	client := producer(t, l)
	made := 0
	more := func() {
		for n := range int32(4) {
			produce(t, client, messages(n, made, made+500)...)
		}
		made += 500
	}
	more()
	first := consume(l.open(t))
	more()
	until(t, "the first member reads", func() bool { return first.count() > 0 })
	second := consume(l.open(t))
	more()
	until(t, "the second member has partitions", func() bool { return second.r.Status()["partitions"] == 2 })
	more()
	until(t, "the second member reads", func() bool { return second.count() > 0 })
	first.close(t)
	more()
	third := consume(l.open(t))
	more()
	union := func() int {
		all := make(map[string]bool)
		for _, m := range []*consumer{first, second, third} {
			m.mu.Lock()
			for k := range m.seen {
				all[k] = true
			}
			m.mu.Unlock()
		}
		return len(all)
	}
	until(t, "everything has come", func() bool { return union() == 4*made })
	second.close(t)
	third.close(t)
	twice := 0
	for m, n := range first.seen {
		twice += n + second.seen[m] + third.seen[m] - 1
	}
	if twice > 0 {
		t.Errorf("%d events came twice although every member settled at once and left in order", twice)
	}
	for n, offset := range l.committed(t) {
		if offset != int64(made) {
			t.Errorf("partition %d: committed %d, want %d", n, offset, made)
		}
	}
}

// A partition that moves waits for its events under way, so that the next
// member begins after them.
func TestAPartitionIsGivenUpOnlyWhenItsEventsAreSettled(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	produce(t, client, append(messages(0, 0, 10), messages(1, 0, 10)...)...)
	first := l.open(t)
	defer shut(t, first)
	a, _ := read(t, first)
	b, _ := read(t, first)
	second := l.open(t)
	defer shut(t, second)
	until(t, "a partition is being revoked", func() bool { return first.leavingOne() })
	if n := second.Status()["partitions"]; n != 0 {
		t.Errorf("the second member has %v partitions while their events are under way", n)
	}
	delivered(a)
	delivered(b)
	until(t, "the partition has moved", func() bool {
		return first.Status()["partitions"] == 1 && second.Status()["partitions"] == 1
	})
	if got := drain(t, second); len(got) != 0 {
		t.Errorf("the second member read again what the first had settled: %v", got)
	}
}

func (r *reader) leavingOne() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.order {
		if p.leaving {
			return true
		}
	}
	return false
}

func TestALateDoneOfALostPartitionCommitsNothing(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l), messages(0, 0, 10)...)
	r := l.open(t)
	defer shut(t, r)
	late, _ := read(t, r)
	// The group forgets this member, as after a long pause of the process.
	kicked := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
	until(t, "the member is told", func() bool { return kicked.Hits() > 0 })
	again, _ := read(t, r) // the new assignment reads them again
	if again.Events[0].Offset != 0 {
		t.Fatalf("the new assignment began at offset %d", again.Events[0].Offset)
	}
	delivered(late)
	if err := r.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.committed(t)[0]; got != 0 {
		t.Errorf("a late Done committed %d", got)
	}
	delivered(again)
	if err := r.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.committed(t)[0]; got != 10 {
		t.Errorf("committed %d, want 10", got)
	}
}

// A commit that was decided before the partition was lost does not reach the
// broker after it.
func TestACommitUnderWayDropsPartitionsLostMeanwhile(t *testing.T) {
	r := &reader{cfg: &Config{Topic: "logs"}, parts: make(map[int32]*partition)}
	for n := range int32(2) {
		p := newPartition("logs", n, 1)
		p.place(0)
		p.settled = 5
		r.assign(p)
	}
	parts, offsets := r.uncommitted()
	r.forget(r.parts[1])
	r.assign(newPartition("logs", 1, 1)) // ours again, a new life
	req := kmsg.NewPtrOffsetCommitRequest()
	topic := kmsg.NewOffsetCommitRequestTopic()
	for n := range offsets {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition = n
		topic.Partitions = append(topic.Partitions, rp)
	}
	req.Topics = append(req.Topics, topic)
	if err := r.dropLost(req, parts); err != nil {
		t.Fatal(err)
	}
	if left := req.Topics[0].Partitions; len(left) != 1 || left[0].Partition != 0 {
		t.Errorf("left %v, want only partition 0", left)
	}
}
