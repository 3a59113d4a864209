package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
)

func mode(t testing.TB, word string) (m Mode) {
	t.Helper()
	if err := m.UnmarshalText([]byte(word)); err != nil {
		t.Fatal(err)
	}
	return m
}

// bySeverityOf is the delivery of day 32.
func bySeverityOf(t testing.TB) Delivery {
	t.Helper()
	soon := Mode{Acknowledged: stage.Duration(time.Minute)}
	forget := mode(t, "fire_and_forget")
	return Delivery{Levels: map[event.Level]Mode{
		event.LevelInfo: forget, event.LevelDebug: forget, event.LevelError: soon, event.LevelFatal: soon}}
}

func decodedJSON(t testing.TB, r *kgo.Record) (e event.Event) {
	t.Helper()
	if err := eventjson.Decode(r.Value, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func fakeLimit(bytes string) kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"message.max.bytes": bytes})
}

// eachLevel makes events of all levels in turn.
func eachLevel(n int) []event.Event {
	out := events(n)
	for i := range out {
		out[i].Level = event.Level(i % 7)
	}
	return out
}

func TestEventsOfEachLevelArriveByTheirOwnWay(t *testing.T) {
	broker := fake(t)
	var asked []int16
	broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		asked = append(asked, req.(*kmsg.ProduceRequest).Acks)
		return nil, nil, false
	})
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Delivery, c.Partitions = bySeverityOf(t), 1 })
	b := event.NewBatch(eachLevel(70))
	if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
		t.Fatal(err, b.FirstErr(event.Open))
	}
	if got := consume(t, broker.ListenAddrs(), "log-events", 70); len(got) != 70 {
		t.Errorf("%d records", len(got))
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	none, all := 0, 0
	for _, acks := range asked {
		switch acks {
		case 0:
			none++
		case -1:
			all++
		}
	}
	if none == 0 || all < 2 || none+all != len(asked) {
		t.Errorf("requests asked for %v; want some for no answer, some of two producers for all", asked)
	}
	if w.unacknowledged.Load() != 20 || w.lost.Load() != 0 {
		t.Errorf("sent without an answer: %d, lost %d; want 20 and 0", w.unacknowledged.Load(), w.lost.Load())
	}
	sent := 0.0
	for _, p := range w.producers {
		sent += testutil.ToFloat64(p.metrics.sentAs[0])
	}
	if sent != 50 {
		t.Errorf("%v counted as acknowledged, want 50", sent)
	}
}

func TestAnErrorThatIsNotAcknowledgedInTimeFailsNobodyElse(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) {
		c.Delivery = bySeverityOf(t)
		c.Delivery.Levels[event.LevelError] = Mode{Acknowledged: stage.Duration(300 * time.Millisecond)}
		c.Partition, c.DeliveryTimeout = Partition{Severity: &Severity{Reserve: true}}, stage.Duration(time.Hour)
	})
	broker.Fault(kfake.Fault{Topic: "log-events", Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1, Keys: []kmsg.Key{kmsg.Produce}})
	batch := events(90)
	for i := range batch {
		batch[i].Level = []event.Level{event.LevelInfo, event.LevelWarn, event.LevelError}[i%3]
	}
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for row, e := range b.Open() {
		switch err := b.Err(row); {
		case e.Level != event.LevelError && err != nil:
			t.Fatalf("%v failed: %v", e.Level, err)
		case e.Level == event.LevelError && (stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "300ms")):
			t.Fatalf("ERROR: %v", err)
		}
	}
	consume(t, broker.ListenAddrs(), "log-events", 60)
}

func TestNobodyWaitsForWhatIsFiredAndForgotten(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) {
		c.Delivery.Default, c.Linger = mode(t, "fire_and_forget"), stage.Duration(time.Minute)
		c.DeliveryTimeout = stage.Duration(time.Hour)
	})
	b := event.NewBatch(events(100))
	if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil { // the linger alone would be a minute
		t.Fatal(err, b.FirstErr(event.Open))
	}
	if sent := w.unacknowledged.Load(); sent != 0 {
		t.Errorf("%d counted as sent before they were", sent)
	}
	if err := w.Close(t.Context()); err != nil { // sends what lingers
		t.Fatal(err)
	}
	consume(t, broker.ListenAddrs(), "log-events", 100)
	if w.Status()["sent_unacknowledged"] != int64(100) {
		t.Errorf("status %v", w.Status())
	}
}

func TestForgottenEventsThatAreLostAreCounted(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), short, func(c *Config) { c.Delivery.Default = mode(t, "fire_and_forget") })
	broker.Close()
	b := event.NewBatch(events(100))
	if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
		t.Fatal(err, b.FirstErr(event.Open))
	}
	deadline := time.After(2 * time.Minute)
	for w.lost.Load() < 100 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%v", w.Status())
		}
	}
	if s := w.Status(); s["lost_unacknowledged"] != int64(100) || s["sent_unacknowledged"] != int64(0) {
		t.Errorf("%v", s)
	}
	if lost := testutil.ToFloat64(w.producers[0].metrics.lost); lost != 100 {
		t.Errorf("metric: %v", lost)
	}
}

// A broker that is away fills the buffer; then a Write waits, and what it could
// not hand over is tried again, not lost.
func TestAFullBufferBlocksAndThenFailsWhatFoundNoRoom(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) {
		c.Delivery.Default, c.MaxBufferedBytes = mode(t, "fire_and_forget"), 2<<20
		c.DeliveryTimeout = stage.Duration(time.Hour)
	})
	broker.Close()
	batch := events(100)
	for i := range batch {
		batch[i].Message = strings.Repeat("x", 20_000)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := w.Write(ctx, event.NewBatch(batch)); err != nil {
		t.Fatal(err)
	}
	if left := w.available(); left < 0 || left > 100<<10 {
		t.Errorf("%d bytes are left of 2 MiB", left)
	}
	b := event.NewBatch(batch)
	blocked := make(chan error)
	go func() { blocked <- w.Write(ctx, b) }()
	select {
	case err := <-blocked:
		t.Fatalf("a Write found room: %v, %v", err, b.FirstErr(event.Open))
	case <-time.After(50 * time.Millisecond): // it waits; later is as good a time to look
	}
	cancel()
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	for row := range b.Open() {
		if !errors.Is(b.Err(row), context.Canceled) {
			t.Fatalf("row %d: %v", row, b.Err(row))
		}
	}
	closing, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer end()
	if err := w.Close(closing); err == nil || !strings.Contains(err.Error(), "fire_and_forget") {
		t.Errorf("Close does not say that events were lost: %v", err)
	}
}

func TestAnEventThatIsTooLargeIsRefusedEvenWhenNobodyWaits(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Delivery.Default = mode(t, "fire_and_forget") })
	batch := events(3)
	batch[1].Message = strings.Repeat("x", 2<<20)
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Outcome(1) != event.Refused || b.Count(event.Refused) != 1 {
		t.Errorf("%v", b.Err(1))
	}
	consume(t, broker.ListenAddrs(), "log-events", 2)
}

func TestExplainSaysWhichLevelsMayBeLost(t *testing.T) {
	e := config(func(c *Config) { c.Delivery = bySeverityOf(t) }).Explain()
	for _, want := range []string{"DEBUG, INFO: fire and forget, at most once", "ERROR, FATAL: acknowledged within 1m0s"} {
		if !strings.Contains(e.Does, want) {
			t.Errorf("%q is not in %q", want, e.Does)
		}
	}
	if !strings.Contains(e.Does, "up to 9MiB (3 partitions x 3MiB)") || !strings.Contains(e.Crash, "DEBUG, INFO that were still") {
		t.Errorf("%q, %q", e.Does, e.Crash)
	}
}

func TestTheShortFormsOfDelivery(t *testing.T) {
	var d Delivery
	if err := d.UnmarshalText([]byte("fire_and_forget")); err != nil || !d.Default.forgets {
		t.Errorf("%+v, %v", d, err)
	}
	for _, wrong := range []string{"acknowledged", "sync", ""} {
		if err := d.UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	var p Partition
	if err := p.UnmarshalText([]byte("hash")); err == nil || !strings.Contains(err.Error(), "round_robin") {
		t.Errorf("partition: hash: %v", err)
	}
}
