package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
)

func TestAGroupStartsWhereItIsTold(t *testing.T) {
	l := cluster(t, 2)
	begin := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var records []*kgo.Record
	for _, partition := range []int32{0, 1} {
		for i, rec := range messages(partition, 0, 6) {
			rec.Timestamp = begin.Add(time.Duration(i) * time.Minute)
			records = append(records, rec)
		}
	}
	produce(t, producer(t, l), records...)
	for _, c := range []struct {
		name string
		set  func(*Start)
		want string
	}{
		{"a time", func(s *Start) { s.Time = Moment(begin.Add(4 * time.Minute)) }, "p0-4 p0-5 p1-4 p1-5"},
		{"between two records", func(s *Start) { s.Time = Moment(begin.Add(4*time.Minute + time.Second)) }, "p0-5 p1-5"},
		{"after the last", func(s *Start) { s.Time = Moment(begin.Add(time.Hour)) }, ""},
		{"offsets", func(s *Start) { s.Offset = map[Number]int64{0: 5, 1: 3} }, "p0-5 p1-3 p1-4 p1-5"},
		{"an offset of one", func(s *Start) { s.Offset = map[Number]int64{1: 5} }, "p0-0 p0-1 p0-2 p0-3 p0-4 p0-5 p1-5"},
		{"an offset beyond the end", func(s *Start) { s.Offset = map[Number]int64{0: 99, 1: 6} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			own := l.of(strings.ReplaceAll(c.name, " ", "-"))
			r := own.open(t, func(cfg *Config) { c.set(&cfg.Start) })
			got := drain(t, r)
			shut(t, r)
			if text := strings.Join(sorted(got), " "); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

func TestAStartIsForGroupsWithoutACommit(t *testing.T) {
	l := cluster(t, 1)
	produce(t, producer(t, l), messages(0, 0, 6)...)
	r := l.open(t)
	readAll(t, r, 6)
	shut(t, r)
	produce(t, producer(t, l), messages(0, 6, 8)...)
	r = l.open(t, func(c *Config) { c.Start.Offset = map[Number]int64{0: 0} })
	defer shut(t, r)
	if got := drain(t, r); strings.Join(got, " ") != "p0-6 p0-7" {
		t.Errorf("got %v", got)
	}
	if !l.log.has("start is for partitions without") {
		t.Error("the log does not say that start was not used")
	}
}

func TestTheFormsOfStart(t *testing.T) {
	var s Start
	if err := s.UnmarshalText([]byte("latest")); err != nil || !s.latest {
		t.Errorf("%+v, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("middle")); err == nil || !strings.Contains(err.Error(), "{time: ") {
		t.Errorf("%v", err)
	}
	var m Moment
	if err := m.UnmarshalText([]byte("yesterday")); err == nil || !strings.Contains(err.Error(), `"yesterday"`) {
		t.Errorf("%v", err)
	}
	if err := m.UnmarshalText([]byte("2026-01-01T01:00:00+01:00")); err != nil || time.Time(m).Unix() != 1767225600 {
		t.Errorf("%v, %v", m, err)
	}
	var n Number
	for _, wrong := range []string{"-1", "x", "99999999999"} {
		if err := n.UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("partition %s is taken", wrong)
		}
	}
}

func TestHeadersBecomeAttributesWhenTheyAreAskedFor(t *testing.T) {
	l := cluster(t, 1)
	header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	produce(t, producer(t, l), &kgo.Record{
		Value: []byte(`{"message":"m","metadata":{"tenant":"from the value"}}`),
		Headers: []kgo.RecordHeader{header("tenant", "from the header"), header("region", "eu"), header("region", "us"), header("odd", "a\xffb"),
			header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
	})
	for _, c := range []struct {
		ask  []string
		want string
	}{
		{nil, "tenant=from the value trace="},
		{[]string{"region"}, "tenant=from the value region=us trace="},
		{[]string{"*"}, "tenant=from the value odd=a\uFFFDb region=us trace=0af7651916cd43dd8448eb211c80319c"},
	} {
		own := l.of(fmt.Sprint(len(c.want)))
		r := own.open(t, func(cfg *Config) { cfg.Headers = c.ask })
		p, _ := read(t, r)
		if got := attributeText(&p.Events[0]); got != c.want {
			t.Errorf("headers %v: %s, want %s", c.ask, got, c.want)
		}
		delivered(p)
		shut(t, r)
	}
}

// of is the same place for another group.
func (l *lab) of(name string) *lab {
	return &lab{brokers: l.brokers, topic: l.topic, group: l.group + "-" + name, clock: l.clock}
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return texts
}

func attributeText(e *event.Event) string {
	var parts []string
	for _, a := range e.Attributes {
		parts = append(parts, a.Key+"="+a.Value.String())
	}
	return strings.Join(append(parts, "trace="+e.TraceID), " ")
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("00-x-y-01")
	f.Add("---")
	f.Fuzz(func(t *testing.T, value string) {
		var e event.Event
		if taken := trace(value, &e); taken != (len(e.TraceID) == 32 && len(e.SpanID) == 16) {
			t.Errorf("%q: taken %v, trace %q, span %q", value, taken, e.TraceID, e.SpanID)
		}
	})
}
