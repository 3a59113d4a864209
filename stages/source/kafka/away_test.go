package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/stage"
	"millrace/internal/ports"
)

// hasteClock runs a hundred times as fast.
type hasteClock struct{ began time.Time }

func (c hasteClock) Now() time.Time { return c.began.Add(100 * time.Since(c.began)) }

func (c hasteClock) Sleep(ctx context.Context, d time.Duration) error {
	return stage.SystemClock.Sleep(ctx, d/100)
}

func TestABrokerThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	port := ports.One(t)
	l := &lab{brokers: ports.Address(port), topic: "logs", group: "readers", clock: hasteClock{time.Now()}}
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
