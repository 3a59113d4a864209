package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
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
		p := newPartition("logs", n)
		p.place(0)
		p.settled = 5
		r.assign(p)
	}
	parts, offsets := r.uncommitted()
	r.forget(r.parts[1])
	r.assign(newPartition("logs", 1)) // ours again, a new life
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

func TestAStuckPartitionIsPausedWhileTheOthersFlow(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	big := make([]byte, 4000)
	for i := range big {
		big[i] = 'x'
	}
	const stuckEvents = 8000 // 32 MB: more than may be out and queued
	var held []event.Parcel
	r := l.open(t)
	defer shut(t, r)
	fill := messages(0, 0, stuckEvents)
	for _, rec := range fill {
		rec.Value = fmt.Appendf(nil, `{"message":"p0","source":"%s"}`, big)
	}
	produce(t, client, fill...)
	produce(t, client, messages(1, 0, 3000)...)
	flowed := 0
	for round := 0; flowed < 3000+100*10; round++ {
		p, _ := read(t, r)
		if p.Origin.Partition == 0 {
			held = append(held, p)
			continue
		}
		flowed += len(p.Events)
		delivered(p)
		if flowed >= 3000 && flowed < 3000+100*10 {
			produce(t, client, messages(1, flowed, flowed+100)...)
		}
	}
	r.mu.Lock()
	p := r.parts[0]
	out, queued, high := p.outBytes, p.queuedBytes, p.high
	r.mu.Unlock()
	if limit := bound(2); out > limit+parcelBytes || queued > limit+16<<20 {
		t.Errorf("%d bytes are out and %d queued, want at most about %d each", out, queued, limit)
	}
	if out+queued >= stuckEvents*4000 {
		t.Errorf("all of the stuck partition was taken into memory")
	}
	if high == 0 {
		t.Error("no high watermark")
	}
	got := 0
	for _, p := range held {
		got += len(p.Events)
		delivered(p)
	}
	for got < stuckEvents {
		p, _ := read(t, r)
		got += len(p.Events)
		delivered(p)
	}
}

func TestWhatRetentionDeletedUnreadIsCountedAsLost(t *testing.T) {
	l := cluster(t, 1)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 10)...)
	r := l.open(t)
	readAll(t, r, 10)
	shut(t, r)
	produce(t, client, messages(0, 10, 30)...)
	l.deleteUntil(t, 25)
	r = l.open(t)
	defer shut(t, r)
	if got := readAll(t, r, 5); got[0] != "p0-25" {
		t.Errorf("began with %s", got[0])
	}
	if lost := r.Status()["lost"]; lost != int64(15) {
		t.Errorf("lost %v, want 15", lost)
	}
	if n, err := testutil.GatherAndCount(l.metrics, "kafka_consumer_lost_records_total"); n != 1 || err != nil {
		t.Errorf("%d lost metrics, %v", n, err)
	}
}

func TestWhatRetentionDeletesUnderARunningReaderIsCountedAsLost(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 10)...)
	r := l.open(t)
	defer shut(t, r)
	readAll(t, r, 10)
	fetches := c.Fault(kfake.Fault{Keys: fetchKey, Count: -1, Err: notNow})
	until(t, "fetches fail", func() bool { return fetches.Hits() > 0 })
	produce(t, client, messages(0, 10, 30)...)
	if err := c.DeleteRecords("logs", 0, 25); err != nil {
		t.Fatal(err)
	}
	fetches.Remove()
	if got := readAll(t, r, 5); got[0] != "p0-25" {
		t.Errorf("went on with %s", got[0])
	}
	if lost := r.Status()["lost"]; lost != int64(15) {
		t.Errorf("lost %v, want 15", lost)
	}
}

func TestAGapBelowTheLogsStartIsLostAndOthersAreNormal(t *testing.T) {
	for _, c := range []struct{ expect, first, logStart, want int64 }{
		{10, 10, 0, 0}, {10, 15, 0, 0}, {10, 15, 10, 0}, {10, 15, 12, 2}, {10, 15, 15, 5}, {10, 15, 40, 5}, {10, 15, -1, 0},
	} {
		if got := gap(c.expect, c.first, c.logStart); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestLagIsWhatIsNotSettled(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	produce(t, client, append(messages(0, 0, 10), messages(1, 0, 5)...)...)
	r := l.open(t)
	defer shut(t, r)
	a, _ := read(t, r)
	b, _ := read(t, r)
	if lag := r.Status()["lag"]; lag != int64(15) {
		t.Errorf("lag %v with all under way, want 15", lag)
	}
	delivered(a)
	if lag := r.Status()["lag"]; lag != int64(15-len(a.Events)) {
		t.Errorf("lag %v, want %d", lag, 15-len(a.Events))
	}
	if n, err := testutil.GatherAndCount(l.metrics, "kafka_consumer_lag"); n != 2 || err != nil {
		t.Errorf("%d lag metrics, %v", n, err)
	}
	delivered(b)
}

// hasteClock runs a hundred times as fast.
type hasteClock struct{ began time.Time }

func (c hasteClock) Now() time.Time { return c.began.Add(100 * time.Since(c.began)) }

func (c hasteClock) Sleep(ctx context.Context, d time.Duration) error {
	return stage.SystemClock.Sleep(ctx, d/100)
}

func TestABrokerThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	l := &lab{brokers: listener.Addr().String(), topic: "logs", group: "readers", clock: hasteClock{time.Now()}}
	r := l.open(t)
	defer shut(t, r)
	until(t, "the log says what is waited for", func() bool { return l.log.has("waiting for kafka") })
	broker(t, 1, kfake.Ports(port))
	produce(t, producer(t, l), messages(0, 0, 3)...)
	if got := readAll(t, r, 3); got[0] != "p0-0" {
		t.Errorf("got %v", got)
	}
}

func TestATopicThatIsNotThereIsNamedInTheLog(t *testing.T) {
	l := at(broker(t, 1))
	l.topic, l.clock = "nowhere", hasteClock{time.Now()}
	r := l.open(t)
	defer shut(t, r)
	until(t, "the log says what is waited for", func() bool {
		return l.log.has("waiting for the topic") && l.log.has("topic=nowhere")
	})
}

func TestACommitThatFailsIsTriedAgain(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	l.clock = hasteClock{time.Now()}
	produce(t, producer(t, l), messages(0, 0, 3)...)
	refused := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Err: kerr.InvalidCommitOffsetSize})
	r := l.open(t)
	defer shut(t, r)
	readAll(t, r, 3)
	until(t, "commits are refused", func() bool { return refused.Hits() > 1 && l.log.has("offsets cannot be committed") })
	refused.Remove()
	until(t, "the commit has come through", func() bool { return l.committed(t)[0] == 3 })
}

func TestATopicThatIsMadeLaterIsFound(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	r := l.open(t, func(cfg *Config) { cfg.Topic = "later" })
	defer shut(t, r)
	asked := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "later", Observe: true, Count: -1})
	until(t, "the topic was asked for", func() bool { return asked.Hits() > 1 })
	if err := c.CreateTopic("later", 1, nil); err != nil {
		t.Fatal(err)
	}
	rec := messages(0, 0, 1)[0]
	rec.Topic = "later"
	produce(t, producer(t, l), rec)
	if got := readAll(t, r, 1); got[0] != "p0-0" {
		t.Errorf("got %v", got)
	}
}

func TestATopicThatIsMadeAnewIsRead(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l), messages(0, 0, 5)...)
	r := l.open(t)
	defer shut(t, r)
	readAll(t, r, 5)
	if err := r.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteTopic("logs"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("logs", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, producer(t, l), messages(0, 100, 103)...)
	// What the client says after some seconds of trying.
	said := kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "logs", Partitions: []kgo.FetchPartition{{Err: kerr.UnknownTopicID}}}}}}
	if !r.ingest(said) {
		t.Fatal("an unknown topic id does not mean a new topic")
	}
	r.renew()
	if got := readAll(t, r, 3); got[0] != "p0-100" {
		t.Errorf("got %v", got)
	}
}

// After an unclean election the log may be shorter, and offsets come again.
func TestALogThatWasCutIsReadAgain(t *testing.T) {
	c := broker(t, 1)
	r := at(c).open(t)
	defer shut(t, r)
	until(t, "the partition is placed", func() bool { return r.position(0) == 0 })
	fetched := func(from, to int) kgo.Fetches {
		var records []*kgo.Record
		for i := from; i < to; i++ {
			records = append(records, &kgo.Record{Topic: "logs", Offset: int64(i), Value: fmt.Appendf(nil, `{"message":"%d"}`, i)})
		}
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "logs", Partitions: []kgo.FetchPartition{{HighWatermark: int64(to), Records: records}}}}}}
	}
	r.ingest(fetched(0, 10))
	before, _ := read(t, r)
	r.ingest(fetched(4, 8))
	after, _ := read(t, r)
	if after.Events[0].Offset != 4 {
		t.Fatalf("went on at offset %d", after.Events[0].Offset)
	}
	delivered(before)
	if parts, _ := r.uncommitted(); len(parts) != 1 || r.position(0) != 8 {
		t.Errorf("%d partitions to commit, position %d", len(parts), r.position(0))
	}
	if _, offsets := r.uncommitted(); offsets[0].Offset != 4 {
		t.Errorf("would commit %d, want 4: what came before is of the old log", offsets[0].Offset)
	}
	delivered(after)
	if _, offsets := r.uncommitted(); offsets[0].Offset != 8 {
		t.Errorf("would commit %d, want 8", offsets[0].Offset)
	}
}

func TestMissingRightsParkTheRouteAndNameTopicAndGroup(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"topic": {Keys: []kmsg.Key{kmsg.Metadata}, Topic: "logs", Err: kerr.TopicAuthorizationFailed, Count: -1},
		"fetch": {Keys: fetchKey, Topic: "logs", Err: kerr.TopicAuthorizationFailed, Count: -1},
		"group": {Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t, 1)
			l := at(c)
			produce(t, producer(t, l), messages(0, 0, 1)...)
			c.Fault(fault)
			r := l.open(t)
			defer shut(t, r)
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			_, err := r.Read(ctx)
			if stage.ClassOf(err) != stage.Unfixable {
				t.Fatalf("Read: %v (%v)", err, stage.ClassOf(err))
			}
			if want := `reading topic "logs" as group "readers"`; err.Error()[:len(want)] != want {
				t.Errorf("%v", err)
			}
		})
	}
}
