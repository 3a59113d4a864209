package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is how long a test waits for what must come; it decides nothing.
const patient = 30 * time.Second

// broker starts a Kafka with one topic, `logs`.
func broker(t testing.TB, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, "logs")}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// lab is what a reader is opened in.
type lab struct {
	brokers  string
	registry string
	log      strings.Builder
	metrics  *prometheus.Registry
}

func at(c *kfake.Cluster) *lab { return &lab{brokers: strings.Join(c.ListenAddrs(), ",")} }

// open opens the source as the engine would, and closes it when the test ends
// unless the test has.
func (l *lab) open(t testing.TB, change ...func(*Config)) *reader {
	t.Helper()
	cfg := Stage.New().(*Config)
	cfg.Topic, cfg.Group, cfg.Resource = "logs", "readers", "kafka"
	for _, f := range change {
		f(cfg)
	}
	var problems stage.Problems
	if cfg.Validate(&problems); len(problems.Found) > 0 {
		t.Fatal(problems.Found)
	}
	level := slog.LevelInfo
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level}))
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
	}
	l.metrics = prometheus.NewRegistry()
	s := stage.Settings{
		Pipeline: "test", Route: "read", Name: "kafka", Instance: "test", Log: log,
		Metrics: l.metrics, Clock: stage.SystemClock,
	}
	resource := kafka.Stage.New().(*kafka.Config)
	resource.Brokers, resource.Registry = l.brokers, stage.Secret(l.registry)
	cluster, err := resource.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.Resource = func(string) (any, error) { return cluster, nil }
	opened, err := cfg.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := opened.(*reader)
	t.Cleanup(func() {
		if r.client.Context().Err() == nil { // the test has failed before its end
			shut(t, r)
		}
		_ = cluster.Close()
	})
	return r
}

func group(name string) func(*Config) { return func(c *Config) { c.Group = name } }

// shut closes a reader and wants that to go well.
func shut(t testing.TB, r *reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// producer is a client that writes to any partition it is told.
func producer(t testing.TB, brokers string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic("logs"), kgo.DisableClientMetrics(),
	}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// messages makes JSON records with the messages 0, 1, 2… of one partition.
func messages(partition int32, from, to int) []*kgo.Record {
	var out []*kgo.Record
	for i := from; i < to; i++ {
		out = append(out, &kgo.Record{Partition: partition, Value: fmt.Appendf(nil, `{"message":"p%d-%d"}`, partition, i)})
	}
	return out
}

// read is one parcel; ok is false at the end.
func read(t testing.TB, r *reader) (event.Parcel, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	p, err := r.Read(ctx)
	if errors.Is(err, io.EOF) {
		return p, false
	}
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return p, true
}

// delivered settles a whole parcel.
func delivered(p event.Parcel) {
	p.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: len(p.Events)}})
}

// returned gives a whole parcel back.
func returned(p event.Parcel) {
	p.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Returned: len(p.Events)}})
}

// texts copies the messages of a parcel.
func texts(p event.Parcel) []string {
	var out []string
	for i := range p.Events {
		out = append(out, strings.Clone(p.Events[i].Message))
	}
	return out
}

// readAll reads and delivers until n events have come.
func readAll(t testing.TB, r *reader, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		p, ok := read(t, r)
		if !ok {
			t.Fatalf("end after %d of %d events", len(got), n)
		}
		got = append(got, texts(p)...)
		delivered(p)
	}
	return got
}

// drain finishes the reader and reads and delivers up to the end.
func drain(t testing.TB, r *reader) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := r.Finish(ctx); err != nil {
		t.Fatalf("Finish: %v", err)
	}
	var got []string
	for {
		p, ok := read(t, r)
		if !ok {
			return got
		}
		got = append(got, texts(p)...)
		delivered(p)
	}
}

// until waits for something that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patient)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// committed is what the group has committed, by partition.
func committed(t testing.TB, brokers, group string) map[int32]int64 {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer, err := kadm.NewClient(client).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int32]int64)
	answer.Each(func(o kadm.OffsetResponse) { out[o.Partition] = o.At })
	return out
}

func TestEventsSayWhereTheyComeFrom(t *testing.T) {
	c := broker(t, 2)
	client := producer(t, at(c).brokers)
	when := time.UnixMilli(1_700_000_000_123)
	produce(t, client,
		&kgo.Record{Partition: 1, Value: []byte(`{"message":"first"}`)},
		&kgo.Record{Partition: 1, Key: []byte("k"), Timestamp: when, Value: []byte(`{"message":"second","level":"WARN"}`)})
	r := at(c).open(t)
	defer shut(t, r)
	p, _ := read(t, r)
	defer delivered(p)
	if p.Lane != "logs/1" || p.Origin != (event.Origin{Kind: "kafka", Name: "logs", Partition: 1}) || len(p.Events) != 2 {
		t.Fatalf("got lane %q, origin %v, %d events", p.Lane, p.Origin, len(p.Events))
	}
	e := &p.Events[1]
	if e.Message != "second" || e.Level != event.LevelWarn || e.Key != "k" || e.Offset != 1 ||
		e.Due != when.UnixNano() || !e.Time.Equal(when) || string(e.Raw) != `{"message":"second","level":"WARN"}` {
		t.Errorf("got %+v", *e)
	}
}

func TestOnlyTheSettledPrefixIsCommitted(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l.brokers), messages(0, 0, 3*parcelEvents)...)
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
		if got := committed(t, l.brokers, "readers")[0]; got != s.want {
			t.Errorf("committed %d, want %d", got, s.want)
		}
	}
	returned(third)
	shut(t, r)
	if got := committed(t, l.brokers, "readers")[0]; got != ends[1] {
		t.Errorf("committed %d after a parcel was returned, want %d", got, ends[1])
	}
	next := l.open(t)
	defer shut(t, next)
	if got := drain(t, next); len(got) == 0 || got[0] != fmt.Sprintf("p0-%d", ends[1]) {
		t.Errorf("the next member began with %v", got[:min(1, len(got))])
	}
}

func TestReturnedEventsComeAgain(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l.brokers), messages(0, 0, 10)...)
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
	if got := committed(t, l.brokers, "readers")[0]; got != int64(len(want)) {
		t.Errorf("committed %d, want %d", got, len(want))
	}
}

func TestCloseCommitsWhatIsSettledAndLeavesTheGroup(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	produce(t, producer(t, l.brokers), messages(0, 0, 10)...)
	r := l.open(t)
	readAll(t, r, 10)
	shut(t, r)
	if got := committed(t, l.brokers, "readers")[0]; got != 10 {
		t.Errorf("committed %d, want 10", got)
	}
	if info := c.GroupInfo("readers"); info != nil && len(info.Members) != 0 {
		t.Errorf("%d members are left in the group", len(info.Members))
	}
}

func TestAGroupThatStartsAtTheLatestOffsetSkipsNothingAfterIt(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l.brokers)
	produce(t, client, messages(0, 0, 5)...)
	latest := func(cfg *Config) { cfg.Start = "latest" }
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

// position is up to where a partition is handed out; unknown when it is not
// assigned.
func (r *reader) position(number int32) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.parts[number]; p != nil {
		return p.taken
	}
	return unknown
}

func TestTheWholeLifeWithoutABroker(t *testing.T) {
	l := &lab{brokers: "127.0.0.1:1"}
	r := l.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Read of a cancelled context: %v", err)
	}
	shut(t, r)
}
