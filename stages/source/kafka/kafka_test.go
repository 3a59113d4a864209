package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestEventsSayWhereTheyComeFrom(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	when := time.UnixMilli(1_700_000_000_123)
	produce(t, client,
		&kgo.Record{Partition: 1, Value: []byte(`{"message":"first"}`)},
		&kgo.Record{Partition: 1, Key: []byte("k"), Timestamp: when, Value: []byte(`{"message":"second","level":"WARN"}`)})
	r := l.open(t)
	defer shut(t, r)
	p, _ := read(t, r)
	defer delivered(p)
	if p.Lane != l.topic+"/1" || p.Origin != (event.Origin{Kind: "kafka", Name: l.topic, Partition: 1}) || len(p.Events) != 2 {
		t.Fatalf("got lane %q, origin %v, %d events", p.Lane, p.Origin, len(p.Events))
	}
	e := &p.Events[1]
	if e.Message != "second" || e.Level != event.LevelWarn || e.Key != "k" || e.Offset != 1 ||
		e.Due != when.UnixNano() || !e.Time.Equal(when) || string(e.Raw) != `{"message":"second","level":"WARN"}` {
		t.Errorf("got %+v", *e)
	}
}

func TestOnlyTheSettledPrefixIsCommitted(t *testing.T) {
	l := cluster(t, 1)
	produce(t, producer(t, l), messages(0, 0, 3*parcelEvents)...)
	r := l.open(t)
	first, _ := read(t, r)
	second, _ := read(t, r)
	third, _ := read(t, r)
	ends := []int64{int64(len(first.Events)), int64(len(first.Events) + len(second.Events))}
	steps := []struct {
		settle event.Parcel
		want   int64
	}{{second, 0}, {first, ends[1]}}
	for _, s := range steps {
		delivered(s.settle)
		if err := r.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.committed(t)[0]; got != s.want {
			t.Errorf("committed %d, want %d", got, s.want)
		}
	}
	returned(third)
	shut(t, r)
	if got := l.committed(t)[0]; got != ends[1] {
		t.Errorf("committed %d after a parcel was returned, want %d", got, ends[1])
	}
	next := l.open(t)
	defer shut(t, next)
	if got := drain(t, next); len(got) == 0 || got[0] != fmt.Sprintf("p0-%d", ends[1]) {
		t.Errorf("the next member began with %v", got[:min(1, len(got))])
	}
}

func TestReturnedEventsComeAgain(t *testing.T) {
	l := cluster(t, 1)
	produce(t, producer(t, l), messages(0, 0, 10)...)
	r := l.open(t)
	defer shut(t, r)
	p, _ := read(t, r)
	want, id := texts(p), p.Events[0].ID
	returned(p)
	again, _ := read(t, r)
	if got := texts(again); strings.Join(got, " ") != strings.Join(want, " ") || again.Events[0].ID != id {
		t.Errorf("got %v, want %v with the same ids", got, want)
	}
	delivered(again)
	if err := r.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.committed(t)[0]; got != int64(len(want)) {
		t.Errorf("committed %d, want %d", got, len(want))
	}
}

func TestCloseCommitsWhatIsSettledAndLeavesTheGroup(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l), messages(0, 0, 10)...)
	r := l.open(t)
	readAll(t, r, 10)
	shut(t, r)
	if got := l.committed(t)[0]; got != 10 {
		t.Errorf("committed %d, want 10", got)
	}
	if info := c.GroupInfo("readers"); info != nil && len(info.Members) != 0 {
		t.Errorf("%d members are left in the group", len(info.Members))
	}
}

func TestAGroupThatStartsAtTheLatestOffsetSkipsNothingAfterIt(t *testing.T) {
	l := cluster(t, 1)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 5)...)
	latest := func(cfg *Config) { cfg.Start.latest = true }
	r := l.open(t, latest)
	until(t, "the partition is placed", func() bool { return r.Status()["partitions"] == 1 && r.position(0) == 5 })
	shut(t, r) // before anything was read
	produce(t, client, messages(0, 5, 8)...)
	next := l.open(t, latest)
	defer shut(t, next)
	if got := drain(t, next); strings.Join(got, " ") != "p0-5 p0-6 p0-7" {
		t.Errorf("got %v", got)
	}
}

func TestTheWholeLifeWithoutABroker(t *testing.T) {
	l := &lab{brokers: "127.0.0.1:1", topic: "logs", group: "readers", clock: stage.SystemClock}
	r := l.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Read of a cancelled context: %v", err)
	}
	shut(t, r)
}
