package kafka

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
)

// onePartition makes all records wait for each other, readable in requests.
func onePartition(c *Config) { c.Partitions, c.Compression = 1, "none" }

// lingers holds records until the client is told to send them.
func lingers(c *Config) {
	c.Linger, c.DeliveryTimeout = stage.Duration(time.Minute), stage.Duration(time.Hour)
}

// refuse answers a produce request as a broker does that finds a bad record.
func refuse(kreq kmsg.Request, with *kerr.Error) (kmsg.Response, error, bool) {
	req := kreq.(*kmsg.ProduceRequest)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, with.Code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil, true
}

func holds(kreq kmsg.Request, text string) bool {
	for _, t := range kreq.(*kmsg.ProduceRequest).Topics {
		for _, p := range t.Partitions {
			if bytes.Contains(p.Records, []byte(text)) {
				return true
			}
		}
	}
	return false
}

// refuseTimestamps refuses requests with BAD in them, and counts them.
func refuseTimestamps(broker *kfake.Cluster) *atomic.Int64 {
	refused := new(atomic.Int64)
	broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		if !holds(req, "BAD") {
			return nil, nil, false
		}
		refused.Add(1)
		return refuse(req, kerr.InvalidTimestamp)
	})
	return refused
}

// soon waits until something is so.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// messages are those of the topic's first n records.
func messages(t *testing.T, broker *kfake.Cluster, n int) (all []string) {
	t.Helper()
	for _, r := range consume(t, broker.ListenAddrs(), "log-events", n) {
		var e event.Event
		if err := eventjson.Decode(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Message)
	}
	return all
}

func TestNobodyIsBlamedForTheBadEventOfAnotherWrite(t *testing.T) {
	broker := fake(t, fakeLimit("20000"))
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition, lingers)
	batch := events(2)
	batch[1].Message = strings.Repeat("x", 30000)
	good, bad := event.NewBatch(batch[:1]), event.NewBatch(batch[1:])
	var writes sync.WaitGroup
	for _, b := range []*event.Batch{good, bad} {
		writes.Go(func() {
			if err := w.Write(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	client := w.producers[0].client.Load()
	soon(t, "both wait in one batch of the client", func() bool { return client.BufferedProduceRecords() == 2 })
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	writes.Wait()
	if good.Outcome(0) != event.Open || good.Err(0) != nil {
		t.Errorf("the good event: %v, %v", good.Outcome(0), good.Err(0))
	}
	if bad.Outcome(0) != event.Refused {
		t.Errorf("the bad event: %v, %v", bad.Outcome(0), bad.Err(0))
	}
}

func TestABadEventAmongThousandsIsFoundWithFewRequests(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition)
	refused := refuseTimestamps(broker)
	batch := events(2000)
	batch[1234].Message = "BAD"
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Outcome(1234) != event.Refused || b.Count(event.Refused) != 1 || b.FirstErr(event.Open) != nil {
		t.Errorf("%d refused, %v; of the others: %v", b.Count(event.Refused), b.Err(1234), b.FirstErr(event.Open))
	}
	if n := broker.PartitionInfo("log-events", 0).HighWatermark; n != 1999 {
		t.Errorf("%d records are in the topic", n)
	}
	if n := refused.Load(); n > 14 {
		t.Errorf("%d requests were refused", n)
	}
}

func TestWhatComesAfterABadEventWaitsForWhatWasRefusedWithIt(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition, lingers, func(c *Config) { c.Key = "source" })
	refuseTimestamps(broker)
	batch := events(3 * portion)
	batch[17].Message = "BAD"
	key, row := w.key, 0
	w.key = func(buf []byte, e *event.Event) []byte {
		if row++; row == portion+100 { // the first portion is refused before the second is given over
			if err := w.producers[0].client.Load().Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
		return key(buf, e)
	}
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil || b.Count(event.Refused) != 1 {
		t.Fatal(err, b.FirstErr(event.Open), b.Count(event.Refused))
	}
	want := append(batch[:17:17], batch[18:]...)
	for i, message := range messages(t, broker, len(want)) {
		if message != want[i].Message {
			t.Fatalf("record %d is %q, want %q", i, message, want[i].Message)
		}
	}
}

func TestBadEventsTakeOneMoreConnectionTogether(t *testing.T) {
	broker := fake(t, fakeLimit("20000"))
	var producers atomic.Int64
	broker.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		producers.Add(1)
		return nil, nil, false
	})
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition)
	for range 5 {
		batch := events(10)
		batch[3].Message = strings.Repeat("x", 30000)
		b := event.NewBatch(batch)
		if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil || b.Outcome(3) != event.Refused {
			t.Fatal(err, b.FirstErr(event.Open), b.Outcome(3))
		}
	}
	if n := producers.Load(); n != 2 {
		t.Errorf("%d producers for five batches with a bad event", n)
	}
}

func TestNobodyIsBlamedWhenTheRouteEndsBeforeTheBadEventIsFound(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition, func(c *Config) { c.DeliveryTimeout = stage.Duration(time.Hour) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refused := false
	broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		if !refused && holds(req, "BAD") {
			refused = true
			return refuse(req, kerr.InvalidTimestamp)
		}
		if refused {
			cancel()
			return nil, nil, true
		}
		return nil, nil, false
	})
	batch := events(100)
	batch[0].Message = "BAD"
	b := event.NewBatch(batch)
	if err := w.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
	if b.Count(event.Refused) > 0 || !errors.Is(b.Err(0), context.Canceled) {
		t.Errorf("%d refused; the bad one: %v", b.Count(event.Refused), b.Err(0))
	}
}

func TestAWriteThatIsGivenUpWithAnOlderOneDoesNotSayThatItsTimeIsOver(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), onePartition, func(c *Config) { c.DeliveryTimeout = stage.Duration(time.Hour) })
	heard := make(chan struct{}, 100)
	broker.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		heard <- struct{}{}
		return nil, nil, true
	})
	older, end := context.WithCancel(t.Context())
	defer end()
	batch := events(2)
	first, second := event.NewBatch(batch[:1]), event.NewBatch(batch[1:])
	var writes sync.WaitGroup
	write := func(ctx context.Context, b *event.Batch) {
		writes.Go(func() {
			if err := w.Write(ctx, b); err != nil {
				t.Error(err)
			}
		})
	}
	write(older, first)
	<-heard
	write(t.Context(), second)
	soon(t, "the second waits behind the first", func() bool { return w.producers[0].client.Load().BufferedProduceRecords() == 2 })
	end()
	writes.Wait()
	if !errors.Is(first.Err(0), context.Canceled) {
		t.Errorf("the older one: %v", first.Err(0))
	}
	if err := second.Err(0); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "given up with older records of the same partition") {
		t.Errorf("the other: %v (%v)", err, stage.ClassOf(err))
	}
}

func TestWhatNobodyWaitsForIsSentBeforeAClientIsReplaced(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), lingers, func(c *Config) { c.Delivery.Default = mode(t, "fire_and_forget") })
	batch := events(200)
	if err := w.Write(t.Context(), event.NewBatch(batch[:100])); err != nil {
		t.Fatal(err)
	}
	w.producers[0].broken.Store(true)
	was := w.producers[0].client.Load()
	if err := w.Write(t.Context(), event.NewBatch(batch[100:])); err != nil {
		t.Fatal(err)
	}
	if w.producers[0].client.Load() == was {
		t.Error("the client is the same")
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if consume(t, broker.ListenAddrs(), "log-events", 200); w.lost.Load() != 0 {
		t.Errorf("%d were lost", w.lost.Load())
	}
}

func TestAClientThatForgetsItsRecordsIsReplaced(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), short)
	p := w.producers[0]
	p.patience = 100 * time.Millisecond
	idle, err := w.cluster.NewClient(append(p.opts[:len(p.opts):len(p.opts)], kgo.ManualFlushing())...) // never sends by itself
	if err != nil {
		t.Fatal(err)
	}
	p.client.Swap(idle).Close()
	b := event.NewBatch(events(100))
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := b.Err(99); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "no answer within delivery_timeout") {
		t.Errorf("%v (%v)", err, stage.ClassOf(err))
	}
	p.patience = patience
	again(t, w, b)
	consume(t, broker.ListenAddrs(), "log-events", 100)
}
