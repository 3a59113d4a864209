package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// openTopics opens the source for several topics, which are named by what
// follows the lab's own.
func openTopics(t *testing.T, l *lab, names ...string) *topics {
	t.Helper()
	c := Stage.New().(*Config)
	c.Topics, c.Group, c.Resource, c.Start.latest = names, l.group, "kafka", false
	var problems stage.Problems
	if c.Validate(&problems); len(problems.Found) > 0 {
		t.Fatal(problems.Found)
	}
	l.metrics = prometheus.NewRegistry()
	s := stage.Settings{Pipeline: "test", Route: "read", Name: "kafka", Log: slog.New(slog.NewTextHandler(&l.log, nil)), Metrics: l.metrics, Clock: l.clock}
	resource := kafka.Stage.New().(*kafka.Config)
	resource.Brokers = l.brokers
	cluster, err := resource.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	s.Resource = func(string) (any, error) { return cluster, nil }
	r, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r.(*topics)
}

// make makes a topic and fills it with n events that say its name.
func (l *lab) make(t *testing.T, topic string, n int) {
	t.Helper()
	if _, err := l.admin(t).CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	client := producer(t, l, kgo.DefaultProduceTopic(topic))
	for i := range n {
		produce(t, client, &kgo.Record{Partition: int32(i % 2), Value: fmt.Appendf(nil, `{"message":"%s"}`, topic)})
	}
}

// from reads and delivers n events, or to the end when n is 0, and counts them
// by topic.
func from(t *testing.T, r *topics, n int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	got := map[string]int{}
	for total := 0; n == 0 || total < n; {
		p, err := r.Read(ctx)
		if n == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		for _, message := range texts(p) {
			if message != p.Origin.Name || !strings.HasPrefix(p.Lane, message+"/") {
				t.Fatalf("an event of %s came with the origin %v in lane %s", message, p.Origin, p.Lane)
			}
			got[message]++
		}
		total += len(p.Events)
		p.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: len(p.Events)}})
	}
	return got
}

func TestTopicsThatMatchAreReadAlsoThoseMadeLater(t *testing.T) {
	l := cluster(t, 1)
	l.make(t, l.topic+".one", 10)
	l.make(t, l.topic+".two", 20)
	l.make(t, l.topic+"-other", 5)
	l.make(t, l.topic+"-named", 3)
	r := openTopics(t, l, l.topic+"[.].*", l.topic+"-named")
	want := fmt.Sprint(map[string]int{l.topic + ".one": 10, l.topic + ".two": 20, l.topic + "-named": 3})
	if got := from(t, r, 33); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	l.make(t, l.topic+".three", 7)
	if got := from(t, r, 7); got[l.topic+".three"] != 7 {
		t.Errorf("of the topic that was made later: %v", got)
	}
	if n := r.Status()["topics"]; n != 4 {
		t.Errorf("%v topics, want 4", n)
	}
	if n, err := testutil.GatherAndCount(l.metrics, "kafka_consumer_lag"); err != nil || n != 8 {
		t.Errorf("%d lags (%v), want one for each of 8 partitions", n, err)
	}
}

func TestSeveralTopicsEndWhenAllHaveEnded(t *testing.T) {
	l := cluster(t, 1)
	l.make(t, l.topic+".one", 10)
	l.make(t, l.topic+".two", 20)
	r := openTopics(t, l, l.topic+"[.].*")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	l.make(t, l.topic+".late", 4) // between two looks
	if err := r.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	got := from(t, r, 0)
	if got[l.topic+".one"] != 10 || got[l.topic+".two"] != 20 || got[l.topic+".late"] != 4 {
		t.Errorf("got %v", got)
	}
}

func TestAPatternThatMatchesNothingEndsAtOnce(t *testing.T) {
	l := cluster(t, 1)
	r := openTopics(t, l, l.topic+"[.]nothing.*")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := r.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if got := from(t, r, 0); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestMistakesInTheListOfTopics(t *testing.T) {
	for key, spoil := range map[string]func(*Config){
		"topics":       func(c *Config) { c.Topic = "logs" },
		"topics.1":     func(c *Config) { c.Topics = []string{"logs", "logs[.("} },
		"topics.0":     func(c *Config) { c.Topics = []string{""} },
		"start.offset": func(c *Config) { c.Start.Offset = map[Number]int64{0: 1} },
	} {
		c := Config{Topics: []string{"logs.v1", "logs[.].*"}, Group: "g", Value: "json", Workers: 1, Resource: "eu"}
		spoil(&c)
		var problems stage.Problems
		if c.Validate(&problems); len(problems.Found) != 1 || problems.Found[0].Key != key {
			t.Errorf("%s: %v", key, problems.Found)
		}
	}
	c := Config{Topics: []string{"logs.v1", "logs[.].*"}, Resource: "eu"}
	if links := c.Links(); len(links) != 1 || links[0].What != "kafka:eu:logs.v1" {
		t.Errorf("links: %v", links)
	}
}
