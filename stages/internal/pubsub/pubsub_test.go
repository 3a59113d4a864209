package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
	"millrace/stages/internal/eventjson"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patient is how long a test waits for what must come; it decides nothing.
const patient = 2 * time.Minute

func wait(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	return ctx
}

func settle(p event.Parcel, o event.Outcome) {
	r := event.Receipt{}
	r.Counts[o] = len(p.Events)
	p.Done(r)
}

// A message that is read and written with raw is the same message.
func TestRawIsTheMessageAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.StringN(0, 20, -1)
		msg := message.NewMessage(rapid.OneOf(rapid.Just(uuid.NewString()), rapid.StringN(1, 30, -1)).Draw(t, "uuid"),
			rapid.SliceOf(rapid.Byte()).Draw(t, "payload"))
		for _, name := range rapid.SliceOf(texts).Draw(t, "names") {
			if name != eventjson.OriginalID && name != UUIDHeader && (name != CorrelationKey) {
				msg.Metadata.Set(name, texts.Draw(t, "value"))
			}
		}
		if rapid.Bool().Draw(t, "correlated") {
			msg.Metadata.Set(CorrelationKey, "c-1")
		}
		var e event.Event
		if err := Raw.Decode(msg, &e); err != nil {
			t.Fatal(err)
		}
		again, err := Raw.Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		if again.UUID != msg.UUID || string(again.Payload) != string(msg.Payload) || !maps.Equal(again.Metadata, msg.Metadata) {
			t.Fatalf("%v %q %v became %v %q %v", msg.UUID, msg.Payload, msg.Metadata, again.UUID, again.Payload, again.Metadata)
		}
	})
}

func TestJSONIsTheEventWithMetadataAsAttributes(t *testing.T) {
	e := stagetest.Events("paid")[0]
	e.CorrelationID = "c-1"
	e.SetAttribute("total", event.Float(1.5))
	msg, err := JSON.Encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	if msg.UUID != e.ID.String() || msg.Metadata.Get(CorrelationKey) != "c-1" {
		t.Errorf("got %v, %v", msg.UUID, msg.Metadata)
	}
	msg.Metadata.Set("name", "OrderPaid")
	msg.Metadata.Set("total", "another")
	var got event.Event
	if err := JSON.Decode(msg, &got); err != nil {
		t.Fatal(err)
	}
	name, _ := got.Attribute("name")
	total, _ := got.Attribute("total")
	if got.ID != e.ID || got.CorrelationID != "c-1" || got.Message != "paid" || name.Str() != "OrderPaid" || total.Float() != 1.5 {
		t.Errorf("got %+v", got)
	}
}

func TestAPayloadThatIsNoEventIsRefusedWithItsBytes(t *testing.T) {
	msg := message.NewMessage("3f1c7f2e-8b0a-4a0e-9d43-1f0f6f1c2a3b", []byte("no json"))
	var e event.Event
	err := JSON.Decode(msg, &e)
	if stage.ClassOf(err) != stage.BadEvent || string(e.Raw) != "no json" || e.ID.String() != msg.UUID {
		t.Errorf("%v; %+v", err, e)
	}
}

func TestAnAttributeUnderTheNameOfTheUUIDIsBad(t *testing.T) {
	e := stagetest.Events("x")[0]
	e.SetAttribute(UUIDHeader, event.String("y"))
	if _, err := Raw.Encode(&e); stage.ClassOf(err) != stage.BadEvent {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("id", []byte(`{"message":"x"}`), "name", "value", true)
	f.Add("", []byte(nil), "", "", false)
	f.Add("3f1c7f2e-8b0a-4a0e-9d43-1f0f6f1c2a3b", []byte(`{"id":"1"}`), "correlation_id", "\xff", true)
	f.Fuzz(func(t *testing.T, id string, payload []byte, name, value string, json bool) {
		msg := message.NewMessage(id, payload)
		msg.Metadata.Set(name, value)
		codec := Raw
		if json {
			codec = JSON
		}
		var e event.Event
		if err := codec.Decode(msg, &e); err != nil && stage.ClassOf(err) != stage.BadEvent {
			t.Errorf("%v", err)
		}
		if string(e.Raw) != string(payload) || id != "" && e.ID == uuid.Nil {
			t.Errorf("got %+v", e)
		}
	})
}

// subscriber brings messages that a test pushes, and lets it see the acks.
type subscriber chan *message.Message

func (s subscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for {
			select {
			case msg, more := <-s:
				if !more {
					return
				}
				select {
				case out <- msg:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (subscriber) Close() error { return nil }

func TestAMessageIsAckedWhenItsOwnEventIsSettled(t *testing.T) {
	sub := make(subscriber, 10)
	r, err := Subscribe(t.Context(), "test", sub, "orders", Raw)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*message.Message
	var parcels []event.Parcel
	for i := range 7 {
		msg := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, "%d", i))
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the subscriber has heard
		msg.SetContext(ctx)
		msgs = append(msgs, msg)
		sub <- msg
		p, err := r.Read(wait(t))
		if err != nil || p.Lane != "orders" || p.Events[0].Message != fmt.Sprint(i) {
			t.Fatalf("%+v, %v", p, err)
		}
		parcels = append(parcels, p)
	}
	outcomes := []event.Outcome{event.Delivered, event.Filtered, event.Shed, event.Poisoned, event.Rejected, event.Returned}
	for i := len(outcomes) - 1; i >= 0; i-- {
		settle(parcels[i], outcomes[i])
	}
	for i, msg := range msgs {
		acked, nacked := closed(msg.Acked()), closed(msg.Nacked())
		wantAck, wantNack := i < 5, i == 5
		if acked != wantAck || nacked != wantNack {
			t.Errorf("message %d: acked %v, nacked %v", i, acked, nacked)
		}
	}
	settle(parcels[6], event.Returned)
	if err := r.Close(wait(t)); err != nil {
		t.Error(err)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestASubscriptionThatEndsByItselfIsTheEndOfTheInput(t *testing.T) {
	sub := make(subscriber)
	r, err := Subscribe(t.Context(), "test", sub, "orders", Raw)
	if err != nil {
		t.Fatal(err)
	}
	close(sub)
	if _, err := r.Read(wait(t)); fmt.Sprint(err) != "EOF" {
		t.Errorf("got %v", err)
	}
	if err := r.Close(wait(t)); err != nil {
		t.Error(err)
	}
}

// A subscription that ends before its subscriber has heard an ack would bring
// the message again.
func TestCloseWaitsUntilTheLastAckIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := make(subscriber, 1)
		r, err := Subscribe(t.Context(), "test", sub, "orders", Raw)
		if err != nil {
			t.Fatal(err)
		}
		msg := message.NewMessage("1", nil)
		ctx, hear := context.WithCancel(context.Background())
		msg.SetContext(ctx)
		sub <- msg
		p, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		settle(p, event.Delivered)
		start := time.Now()
		go func() {
			_ = stage.SystemClock.Sleep(context.Background(), 700*time.Millisecond)
			hear()
		}()
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 700*time.Millisecond {
			t.Errorf("it closed after %v", took)
		}
	})
}

// publisher fails as a test tells it to.
type publisher struct {
	mu   sync.Mutex
	sent []string
	fail map[string]func() error
}

func (p *publisher) Publish(_ string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		if f := p.fail[string(msg.Payload)]; f != nil {
			if err := f(); err != nil {
				return err
			}
		}
		p.mu.Lock()
		p.sent = append(p.sent, string(msg.Payload))
		p.mu.Unlock()
	}
	return nil
}

func (*publisher) Close() error { return nil }

func writer(p message.Publisher) *Writer {
	return NewWriter(Raw, OneByOne(p, "orders"), func(context.Context) error { return nil })
}

func TestWhatAPublisherSaysOfAMessageIsAboutItsEventOnly(t *testing.T) {
	p := &publisher{fail: map[string]func() error{
		"bad":     func() error { return stage.Bad(errors.New("too large")) },
		"panics":  func() error { panic("oh") },
		"weather": func() error { return errors.New("away") },
	}}
	w := writer(p)
	b := event.NewBatch(stagetest.Events("a", "bad", "b", "panics", "c", "weather", "d"))
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(p.sent) != "[a b c]" {
		t.Errorf("sent %v: d must not overtake what is before it", p.sent)
	}
	for row, want := range []event.Outcome{event.Open, event.Refused, event.Open, event.Refused, event.Open, event.Open, event.Open} {
		failed := b.Err(row) != nil
		if b.Outcome(row) != want || failed != (row == 1 || row == 3 || row >= 5) {
			t.Errorf("row %d is %v: %v", row, b.Outcome(row), b.Err(row))
		}
	}
	if text := b.Err(3).Error(); !strings.Contains(text, "oh") {
		t.Errorf("got %q", text)
	}
	delete(p.fail, "weather")
	b.Select(func(row int, _ *event.Event) bool { return b.Err(row) == nil }).SettleOpen(event.Delivered)
	b.ClearErrs()
	if err := w.Write(t.Context(), b); err != nil || fmt.Sprint(p.sent) != "[a b c weather d]" {
		t.Errorf("%v, sent %v", err, p.sent)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAPublisherThatDoesNotReturnDoesNotHoldUpAStop(t *testing.T) {
	release, stuck := make(chan struct{}), make(chan struct{})
	p := &publisher{fail: map[string]func() error{"a": func() error { close(stuck); <-release; return nil }}}
	w := writer(p)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-stuck
		stop()
	}()
	events := stagetest.Events("a", "b")
	if err := w.Write(ctx, event.NewBatch(events)); stage.ClassOf(err) != stage.Stopped {
		t.Errorf("got %v", err)
	}
	events[0].Message, events[1].Message = "used again", "used again"
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Close(over); err == nil || !strings.Contains(err.Error(), "does not return") {
		t.Errorf("Close: %v", err)
	}
	close(release)
	if err := w.Close(wait(t)); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(p.sent) != "[a]" {
		t.Errorf("sent %v", p.sent)
	}
}

func TestANackedMessageComesAgain(t *testing.T) {
	ch := gochannel.NewGoChannel(gochannel.Config{}, nil)
	defer ch.Close()
	r, err := Subscribe(t.Context(), "test", ch, "orders", Raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Publish("orders", message.NewMessage("1", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	for _, o := range []event.Outcome{event.Returned, event.Returned, event.Delivered} {
		p, err := r.Read(wait(t))
		if err != nil || p.Events[0].Message != "x" {
			t.Fatalf("%+v, %v", p, err)
		}
		settle(p, o)
	}
	if err := r.Close(wait(t)); err != nil {
		t.Error(err)
	}
}
