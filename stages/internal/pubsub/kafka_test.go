package pubsub

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// onFake is a topic of three partitions on a broker in this process.
func onFake(t testing.TB) Kafka {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return at(c.ListenAddrs(), "orders")
}

func at(brokers []string, topic string) Kafka {
	return Kafka{
		Topic: topic,
		Client: func(opts ...kgo.Opt) (*kgo.Client, error) {
			return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.DisableClientMetrics()}, opts...)...)
		},
		Classify: func(err error) error {
			if errors.Is(err, kerr.MessageTooLarge) {
				return stage.Bad(err)
			}
			return err
		},
	}
}

func (k Kafka) open(t testing.TB, codec Codec) *FinishingReader {
	t.Helper()
	r, err := k.Reader("readers", false, codec, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(wait(t)); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

func (k Kafka) publish(t testing.TB, codec Codec, key func(*event.Event) string, events ...event.Event) {
	t.Helper()
	w, err := k.Writer(codec, key)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(wait(t))
	b := event.NewBatch(events)
	if err := w.Write(wait(t), b); err != nil || b.FirstErr(event.Open) != nil || b.Count(event.Refused) > 0 {
		t.Fatal(err, b.FirstErr(event.Open), b.FirstErr(event.Refused))
	}
}

// all reads and settles until the end.
func all(t testing.TB, r *FinishingReader, o event.Outcome) []event.Event {
	t.Helper()
	if err := r.Finish(wait(t)); err != nil {
		t.Fatal(err)
	}
	var out []event.Event
	for {
		p, err := r.Read(wait(t))
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("after %d events: %v", len(out), err)
		}
		out = append(out, p.Events...)
		settle(p, o)
	}
}

func names(events []event.Event) []string {
	out := make([]string, len(events))
	for i := range events {
		out[i] = events[i].Message
	}
	return out
}

func numbered(n int) []event.Event {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint("event ", i)
	}
	return stagetest.Events(texts...)
}

func sameKey(*event.Event) string { return "k" }

func TestARecordIsWhatWatermillKafkaWrites(t *testing.T) {
	k := onFake(t)
	e := stagetest.Events("the payload")[0]
	e.CorrelationID = "c-1"
	e.SetAttribute("name", event.String("OrderPaid"))
	k.publish(t, Raw, func(*event.Event) string { return "customer-7" }, e)
	client, err := k.Client(kgo.ConsumeTopics(k.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := client.PollFetches(wait(t)).Records()[0]
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	want := map[string]string{"_watermill_message_uuid": e.ID.String(), "name": "OrderPaid", "correlation_id": "c-1"}
	if string(r.Value) != "the payload" || string(r.Key) != "customer-7" || !maps.Equal(headers, want) {
		t.Errorf("value %q, key %q, headers %v", r.Value, r.Key, headers)
	}
	h := fnv.New32a()
	_, _ = h.Write(r.Key)
	partition := int32(h.Sum32()) % 3
	if partition < 0 {
		partition = -partition
	}
	if r.Partition != partition {
		t.Errorf("it is in partition %d, and sarama would have put it into %d", r.Partition, partition)
	}
}

func TestWhatIsWrittenIsReadTheSame(t *testing.T) {
	for _, codec := range []Codec{JSON, Raw} {
		k := onFake(t)
		events := numbered(1000)
		k.publish(t, codec, sameKey, events...)
		got := all(t, k.open(t, codec), event.Delivered)
		if len(got) != len(events) {
			t.Fatalf("%s: %d events of %d", codec, len(got), len(events))
		}
		for i := range got {
			same := got[i].ID == events[i].ID && got[i].Message == events[i].Message
			if !same || got[i].Key != "k" || got[i].Offset != int64(i) || got[i].Due == 0 {
				t.Fatalf("%s: event %d is %+v", codec, i, got[i])
			}
		}
	}
}

func TestAcksThatWereGivenBeforeAStopAreKept(t *testing.T) {
	k := onFake(t)
	k.publish(t, JSON, nil, numbered(300)...)
	r := k.open(t, JSON)
	if n := len(all(t, r, event.Delivered)); n != 300 {
		t.Fatalf("read %d of 300", n)
	}
	if err := r.Close(wait(t)); err != nil {
		t.Fatal(err)
	}
	if again := all(t, k.open(t, JSON), event.Delivered); len(again) > 0 {
		t.Errorf("%d events came again although they were settled", len(again))
	}
}

// Only what is settled without a gap is marked as read.
func TestWhatWasNotSettledComesAgainAfterAStop(t *testing.T) {
	k := onFake(t)
	k.publish(t, JSON, sameKey, numbered(10)...)
	r := k.open(t, JSON)
	var parcels []event.Parcel
	for range 10 {
		p, err := r.Read(wait(t))
		if err != nil {
			t.Fatal(err)
		}
		parcels = append(parcels, p)
	}
	for i := 9; i >= 0; i-- {
		if i == 4 {
			settle(parcels[i], event.Returned)
		} else {
			settle(parcels[i], event.Delivered)
		}
	}
	if err := r.Close(wait(t)); err != nil {
		t.Fatal(err)
	}
	got := names(all(t, k.open(t, JSON), event.Delivered))
	if len(got) != 6 || got[0] != "event 4" || got[5] != "event 9" {
		t.Errorf("read again %v", got)
	}
}

func TestAMessageThatWasNackedComesAgain(t *testing.T) {
	k := onFake(t)
	k.publish(t, JSON, sameKey, numbered(3)...)
	r := k.open(t, JSON)
	p, err := r.Read(wait(t))
	if err != nil {
		t.Fatal(err)
	}
	settle(p, event.Returned)
	seen := map[string]bool{}
	for len(seen) < 3 {
		p, err := r.Read(wait(t))
		if err != nil {
			t.Fatal(err)
		}
		seen[p.Events[0].Message] = true
		settle(p, event.Delivered)
	}
}

func TestOneTooLargeMessageIsRefusedAndTheOthersDelivered(t *testing.T) {
	k := onFake(t)
	w, err := k.Writer(JSON, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(wait(t))
	b := event.NewBatch(stagetest.Events("a", strings.Repeat("x", 2<<20), "b"))
	if err := w.Write(wait(t), b); err != nil {
		t.Fatal(err)
	}
	if b.Outcome(1) != event.Refused || b.Err(0) != nil || b.Err(2) != nil {
		t.Errorf("%v, %v, %v", b.Err(0), b.Err(1), b.Err(2))
	}
	if got := all(t, k.open(t, JSON), event.Delivered); len(got) != 2 {
		t.Errorf("read %v", names(got))
	}
}

func TestATopicThatIsEmptyOrNotThereEnds(t *testing.T) {
	k := onFake(t)
	for _, topic := range []string{k.Topic, "nowhere"} {
		k.Topic = topic
		if got := all(t, k.open(t, JSON), event.Delivered); len(got) != 0 {
			t.Errorf("%s: read %v", topic, names(got))
		}
	}
}

// A second member takes over partitions; together they read everything.
func TestTwoMembersShareTheTopic(t *testing.T) {
	k := onFake(t)
	first := k.open(t, JSON)
	type got struct {
		id  string
		err error
	}
	read := make(chan got)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	pull := func(r *FinishingReader) {
		for {
			p, err := r.Read(ctx)
			if ctx.Err() != nil {
				return
			}
			g := got{err: err}
			if err == nil {
				g.id = p.Events[0].ID.String()
				settle(p, event.Delivered)
			}
			select {
			case read <- g:
			case <-ctx.Done():
				return
			}
		}
	}
	go pull(first)
	events := numbered(600)
	k.publish(t, JSON, nil, events[:300]...)
	second := k.open(t, JSON)
	go pull(second)
	k.publish(t, JSON, func(e *event.Event) string { return e.ID.String() }, events[300:]...)
	seen := map[string]bool{}
	for len(seen) < 600 {
		select {
		case g := <-read:
			if g.err != nil {
				t.Fatal(g.err)
			}
			seen[g.id] = true
		case <-wait(t).Done():
			t.Fatalf("%d of 600 events were read", len(seen))
		}
	}
}

func TestAMessageWithoutAUUIDHasTheSameIDAtEachReading(t *testing.T) {
	k := onFake(t)
	client, err := k.Client(kgo.DefaultProduceTopic(k.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(wait(t), kgo.StringRecord("plain")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, group := range []string{"one", "another"} {
		r, err := k.Reader(group, false, Raw, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, all(t, r, event.Delivered)[0].ID.String())
		if err := r.Close(wait(t)); err != nil {
			t.Error(err)
		}
	}
	if ids[0] != ids[1] {
		t.Errorf("got %v", ids)
	}
}

func TestMarshalIsTheOtherWayRound(t *testing.T) {
	msg := message.NewMessage("1", []byte("x"))
	msg.Metadata.Set("a", "b")
	setKey(msg, "k")
	r := marshal("orders", msg)
	again := unmarshal(t.Context(), r)
	if !again.Equals(msg) || string(r.Key) != "k" {
		t.Errorf("%v became %v", msg, again)
	}
	at, ok := placeOf(again.Context())
	if !ok || at.record != r {
		t.Error("the place is lost")
	}
}
