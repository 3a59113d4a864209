package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/stages/resource/kafka"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patient is how long a test waits for what must come; it decides nothing.
const patient = 2 * time.Minute

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
	topic    string
	group    string
	registry string
	log      lines
	clock    stage.Clock
	metrics  *prometheus.Registry
}

func at(c *kfake.Cluster) *lab {
	return &lab{brokers: strings.Join(c.ListenAddrs(), ","), topic: "logs", group: "readers", clock: stage.SystemClock}
}

// lines is a log that a test can read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// open opens the source as the engine would, and closes it when the test ends
// unless the test has.
func (l *lab) open(t testing.TB, change ...func(*Config)) *reader {
	t.Helper()
	cfg := Stage.New().(*Config)
	cfg.Topic, cfg.Group, cfg.Resource = l.topic, l.group, "kafka"
	for _, f := range change {
		f(cfg)
	}
	var problems stage.Problems
	if cfg.Validate(&problems); len(problems.Found) > 0 {
		t.Fatal(problems.Found)
	}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(&l.log, t.Output()), nil))
	l.metrics = prometheus.NewRegistry()
	s := stage.Settings{
		Pipeline: "test", Route: "read", Name: "kafka", Instance: "test", Log: log,
		Metrics: l.metrics, Clock: l.clock,
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
func producer(t testing.TB, l *lab, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(l.brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(l.topic), kgo.DisableClientMetrics(),
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
	return rest(t, r)
}

// rest reads and delivers up to the end, after Finish.
func rest(t testing.TB, r *reader) []string {
	t.Helper()
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
	untilWithin(t, patient, what, ok)
}

func untilWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
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

// admin asks the brokers.
func (l *lab) admin(t testing.TB) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(l.brokers, ",")...), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// deleteUntil deletes what is before an offset of partition 0, as retention
// does.
func (l *lab) deleteUntil(t testing.TB, offset int64) {
	t.Helper()
	answers, err := l.admin(t).DeleteRecords(t.Context(), kadm.Offsets{l.topic: {0: {Topic: l.topic, At: offset}}})
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// committed is what the group has committed, by partition.
func (l *lab) committed(t testing.TB) map[int32]int64 {
	t.Helper()
	answer, err := l.admin(t).FetchOffsets(t.Context(), l.group)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int32]int64)
	answer.Each(func(o kadm.OffsetResponse) { out[o.Partition] = o.At })
	return out
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
