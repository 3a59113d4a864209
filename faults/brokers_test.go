//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Three brokers, each record on all of them, two of which must have it: one
// dies, and the traffic of its partitions moves to the others.
func TestOneOfThreeBrokersDown(t *testing.T) {
	s, err := newSite("three", 3)
	must(t, err)
	t.Cleanup(s.close)
	l := newLab(t, s, 13, 1)
	l.sets = []string{"routes.ingest.sink.kafka.replication=3"}
	l.start()
	l.feeder.start(500)
	l.flows(500)
	dead := l.site.targets[0]
	led := l.ledBy(1)
	if led == 0 {
		t.Fatal("the broker that is to die leads no partition")
	}
	at := l.ends()
	must(t, dead.Kill())
	killed := time.Now()
	await(t, eventually, "all partitions take events again", func() bool {
		now := l.ends()
		for partition, end := range at {
			if now[partition] <= end+100 { // more than was underway at the kill
				return false
			}
		}
		return len(now) == 3
	})
	moved := time.Since(killed)
	within(t, "moving the traffic", moved, 30*time.Second)
	l.flows(500)
	must(t, dead.Start())
	l.flows(500)
	l.finish()
	l.drained()
	l.told(l.judge(), "the dead broker led %d of 3 partitions; all took events again after %.1f s", led, moved.Seconds())
}

func (l *lab) admin(f func(context.Context, *kadm.Client)) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.site.kafkaOut.Direct()), kgo.DisableClientMetrics())
	must(l.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(l.t.Context(), soon)
	defer cancel()
	f(ctx, kadm.NewClient(client))
}

// ledBy counts the partitions of the output that a broker leads.
func (l *lab) ledBy(broker int32) (n int) {
	l.t.Helper()
	l.admin(func(ctx context.Context, c *kadm.Client) {
		topics, err := c.ListTopics(ctx, l.topic("output"))
		must(l.t, err)
		for _, p := range topics[l.topic("output")].Partitions {
			if p.Leader == broker {
				n++
			}
		}
	})
	return n
}

// records counts the records of the output.
func (l *lab) records() (n int64) {
	l.t.Helper()
	for _, end := range l.ends() {
		n += end
	}
	return n
}

// ends are the ends of the output's partitions; one without a leader has the
// end 0.
func (l *lab) ends() map[int32]int64 {
	l.t.Helper()
	ends := map[int32]int64{}
	l.admin(func(ctx context.Context, c *kadm.Client) {
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		listed, _ := c.ListEndOffsets(short, l.topic("output")) // what cannot be asked is as good as empty
		listed.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				ends[o.Partition] = o.Offset
			}
		})
	})
	return ends
}
