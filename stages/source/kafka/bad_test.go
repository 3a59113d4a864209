package kafka

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/resource/kafka"
	"millrace/stages/resource/kafka/registry"
)

const testSchema = `{"type":"record","name":"E","fields":[
	{"name":"id","type":"string"},{"name":"message","type":"string"},
	{"name":"metadata","type":{"type":"map","values":["string","long","double","boolean"]},"default":{}}]}`

// schemas serves a registry that can be switched off.
func schemas(t testing.TB) (url string, away *atomic.Bool) {
	t.Helper()
	store, err := registry.Open("")
	if err != nil {
		t.Fatal(err)
	}
	away = new(atomic.Bool)
	handler := registry.Handler(store)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, away
}

// register puts the test's schema into a registry.
func register(t testing.TB, r *reader) int {
	t.Helper()
	id, err := r.cluster.Registry().Register(t.Context(), "logs-value", testSchema)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// encoded is an event as Avro with its frame.
func encoded(t testing.TB, id int, e event.Event) []byte {
	t.Helper()
	codec, err := avro.New(testSchema)
	if err != nil {
		t.Fatal(err)
	}
	value, err := codec.Append(avro.Frame(nil, id), &e)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestBadRecordsAreRefusedAndThePartitionGoesOn(t *testing.T) {
	l := cluster(t, 1)
	l.registry, _ = schemas(t)
	r := l.open(t)
	id := register(t, r)
	shut(t, r)
	good := encoded(t, id, event.Event{Message: "good"})
	values := [][]byte{
		[]byte("neither JSON nor Avro"),
		nil,
		avro.Frame(nil, 4242),
		good[:len(good)-2],
		{},
		[]byte(`{"message":`),
		good,
		[]byte(`{"message":"good too"}`),
	}
	reasons := []string{"want a JSON object", "null value", "unknown schema id", "schema id", "JSON", "JSON"}
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Value: v, Key: []byte("k")})
	}
	produce(t, producer(t, l), records...)
	r = l.open(t) // when all are there, so that they come as one parcel
	defer shut(t, r)
	p, _ := read(t, r)
	if len(p.Events) != len(values) || len(p.Refused) != len(reasons) {
		t.Fatalf("got %d events of which %d refused: %v", len(p.Events), len(p.Refused), p.Refused)
	}
	for i, refusal := range p.Refused {
		e := &p.Events[refusal.Index]
		where := fmt.Sprintf("topic %s, partition 0, offset %d", l.topic, i)
		if refusal.Index != i || stage.ClassOf(refusal.Err) != stage.BadEvent ||
			!strings.Contains(refusal.Err.Error(), where) || !strings.Contains(refusal.Err.Error(), reasons[i]) {
			t.Errorf("refusal %d: index %d: %v; want it to name %q and %q", i, refusal.Index, refusal.Err, where, reasons[i])
		}
		if string(e.Raw) != string(values[i]) || (e.Raw == nil) != (values[i] == nil) || e.Key != "k" || e.Message != "" || e.Offset != int64(i) {
			t.Errorf("refused event %d: %+v", i, *e)
		}
	}
	if !errors.Is(p.Refused[2].Err, kafka.ErrUnknownSchema) {
		t.Errorf("%v is not ErrUnknownSchema", p.Refused[2].Err)
	}
	if got := texts(p)[6:]; strings.Join(got, ",") != "good,good too" {
		t.Errorf("the good ones: %v", got)
	}
	delivered(p)
	if err := r.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.committed(t)[0]; got != int64(len(values)) {
		t.Errorf("committed %d, want %d", got, len(values))
	}
}

func TestARegistryThatIsAwayIsWaitedForAndNothingIsRefused(t *testing.T) {
	l := cluster(t, 1)
	url, away := schemas(t)
	l.registry = url
	r := l.open(t)
	id := register(t, r)
	shut(t, r)
	produce(t, producer(t, l),
		&kgo.Record{Value: encoded(t, id, event.Event{Message: "first"})}, &kgo.Record{Value: []byte(`{"message":"second"}`)})
	away.Store(true)
	asked := make(chan struct{}, 1)
	r = l.open(t, func(*Config) {}) // a new one, which knows no schema
	defer shut(t, r)
	r.decode.clock = tellingClock{r.clock, asked}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() {
		_, err := r.Read(ctx)
		stopped <- err
	}()
	<-asked
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Fatalf("Read while the registry is away: %v", err)
	}
	go func() { <-asked; away.Store(false) }()
	p, _ := read(t, r)
	defer delivered(p)
	if got := texts(p); strings.Join(got, " ") != "first second" || len(p.Refused) != 0 {
		t.Errorf("got %v, refused %v", got, p.Refused)
	}
}

// tellingClock tells of each sleep, which then takes no time.
type tellingClock struct {
	stage.Clock
	asleep chan struct{}
}

func (c tellingClock) Sleep(ctx context.Context, _ time.Duration) error {
	select {
	case c.asleep <- struct{}{}:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func TestARecordsOwnIDIsKeptAndOthersComeFromItsPlace(t *testing.T) {
	l := cluster(t, 2)
	const own = "0190163d-8694-739b-aea5-966c26f8ad91"
	client := producer(t, l)
	for n := range int32(2) {
		produce(t, client,
			&kgo.Record{Partition: n, Value: fmt.Appendf(nil, `{"id":%q,"message":"own"}`, own)},
			&kgo.Record{Partition: n, Value: []byte(`{"message":"none"}`)},
			&kgo.Record{Partition: n, Value: []byte(`{"message":"none"}`)})
	}
	ids := func(group string) map[string]string {
		r := l.open(t, func(cfg *Config) { cfg.Group += group })
		defer shut(t, r)
		out := make(map[string]string)
		for len(out) < 6 {
			p, _ := read(t, r)
			for i := range p.Events {
				out[fmt.Sprintf("%s@%d", p.Lane, p.Events[i].Offset)] = p.Events[i].ID.String()
			}
			delivered(p)
		}
		return out
	}
	first, second := ids("one"), ids("two")
	seen := make(map[string]bool)
	for place, id := range first {
		if second[place] != id {
			t.Errorf("%s: id %s, read again %s", place, id, second[place])
		}
		if strings.HasSuffix(place, "@0") {
			if id != own {
				t.Errorf("%s: id %s, want its own", place, id)
			}
			continue
		}
		if seen[id] {
			t.Errorf("%s: id %s was given twice", place, id)
		}
		seen[id] = true
	}
}

func TestATopicMadeAnewGivesNewIDs(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l)
	first := func(group string) event.Event {
		r := l.open(t, func(cfg *Config) { cfg.Group += group })
		defer shut(t, r)
		p, _ := read(t, r)
		defer delivered(p)
		return event.Event{ID: p.Events[0].ID}
	}
	produce(t, client, messages(0, 0, 1)...)
	before := first("one")
	if err := c.DeleteTopic("logs"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("logs", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, producer(t, l), messages(0, 0, 1)...)
	if after := first("two"); after.ID == before.ID {
		t.Errorf("both lives of the topic have an event %s", after.ID)
	}
}

func TestWhatWasReplayedIntoATopicIsWhatItWas(t *testing.T) {
	const id = "0197c1a0-0000-7000-8000-00000000000a"
	replayed := func(value, given string) *kgo.Record {
		return &kgo.Record{Value: []byte(value), Headers: []kgo.RecordHeader{
			{Key: "x-dlq-replay-count", Value: []byte("2")}, {Key: "x-dlq-event-id", Value: []byte(id)}, {Key: "x-dlq-given", Value: []byte(given)},
		}}
	}
	l := cluster(t, 1)
	produce(t, producer(t, l),
		replayed(`{"message":"m","organisation":"evil","admin":true}`, `{"organisation":"real","source":"shop","metadata":{"file":"/x","replay_count":1},"metadata":{"admin":null}}`),
		replayed(`{"message":"m","host":"h"}`, `{"organisation":"half","level":"loud"}`),
		replayed(`no JSON`, `{"host":"web-1"}`))
	r := l.open(t)
	defer shut(t, r)
	p, _ := read(t, r)
	defer delivered(p)
	if len(p.Events) != 3 || len(p.Refused) != 2 || p.Refused[0].Index != 1 || p.Refused[1].Index != 2 {
		t.Fatalf("%d events, refused %+v", len(p.Events), p.Refused)
	}
	if e := &p.Events[0]; e.Message != "m" || e.Organisation != "real" || e.Source != "shop" || e.ID.String() != id || len(e.Attributes) != 2 {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(p.Refused[0].Err.Error(), "header x-dlq-given") || p.Events[1].Organisation != "" {
		t.Errorf("a damaged header: %v, %+v", p.Refused[0].Err, p.Events[1])
	}
	if e := &p.Events[2]; e.Host != "web-1" || e.ID.String() != id {
		t.Errorf("a bad value: %+v", e)
	}
	for i := range p.Events {
		if n, _ := p.Events[i].Attribute("replay_count"); n != event.Int(2) || p.Events[i].Replays != 2 {
			t.Errorf("event %d was replayed %v times, want 2", i, n)
		}
	}
}

func TestRawValuesBecomeTheMessage(t *testing.T) {
	l := cluster(t, 1)
	produce(t, producer(t, l), &kgo.Record{Value: []byte("just { text")}, &kgo.Record{Value: nil})
	r := l.open(t, func(cfg *Config) { cfg.Value = "raw" })
	defer shut(t, r)
	p, _ := read(t, r)
	defer delivered(p)
	if p.Events[0].Message != "just { text" || len(p.Refused) != 1 || p.Refused[0].Index != 1 {
		t.Errorf("got %q, refused %v", p.Events[0].Message, p.Refused)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"message":"m","level":"INFO","metadata":{"a":1}}`), false)
	f.Add([]byte("\x00\x00\x00\x00\x01\x06abc"), false)
	f.Add([]byte("\x00\x00\x00\x00\x02"), true)
	f.Add([]byte("plain"), true)
	f.Add([]byte{}, false)
	known := map[int]*schema{1: compile(1, testSchema), 2: compile(2, `"string"`)}
	for id := 3; id < 1<<8; id++ {
		known[id] = &schema{id: id, err: kafka.ErrUnknownSchema}
	}
	f.Fuzz(func(t *testing.T, value []byte, raw bool) {
		original := string(value)
		d := &decoder{topic: "logs", raw: raw, schemas: known}
		if id, _, framed := avro.Unframe(value); framed && d.schemas[id] == nil {
			return // would ask a registry
		}
		pc := &parcel{part: newPartition("logs", 0, 1), records: []*kgo.Record{{Topic: "logs", Value: value, Offset: 7}}}
		if err := d.parcel(t.Context(), pc); err != nil {
			t.Fatal(err)
		}
		if len(pc.events) != 1 || string(pc.events[0].Raw) != original || pc.events[0].Offset != 7 {
			t.Errorf("got %+v", pc.events)
		}
		if len(pc.refused) == 0 && raw && original != "" && original[0] != 0 && pc.events[0].Message != original {
			t.Errorf("message %q of %q", pc.events[0].Message, original)
		}
		if again := pc.events[0].ID; again != pc.part.ids.id(7) && len(pc.refused) > 0 {
			t.Errorf("a refused event has id %v", again)
		}
	})
}
