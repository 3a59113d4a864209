package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/ports"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
)

func short(c *Config) { c.DeliveryTimeout = stage.Duration(500 * time.Millisecond) }

func TestAvroEventsArriveWithTheSchemaThatReadsThem(t *testing.T) {
	broker := fake(t)
	cluster := clusterAt(t, broker.ListenAddrs()[0])
	w := openSink(t, cluster, func(c *Config) { c.Value.Avro = schemaFile; c.Key = "correlation_id" })
	want := events(1000)
	if err := w.Write(t.Context(), event.NewBatch(want)); err != nil {
		t.Fatal(err)
	}
	byID, codecs := map[string]event.Event{}, map[int]*avro.Codec{}
	for _, r := range consume(t, broker.ListenAddrs(), "log-events", len(want)) {
		id, body, ok := avro.Unframe(r.Value)
		if !ok {
			t.Fatalf("no registry frame in %x", r.Value)
		}
		if codecs[id] == nil {
			text, err := cluster.Registry().Schema(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if codecs[id], err = avro.New(text); err != nil {
				t.Fatal(err)
			}
		}
		var e event.Event
		if err := codecs[id].Decode(body, &e); err != nil {
			t.Fatal(err)
		}
		if string(r.Key) != e.CorrelationID {
			t.Errorf("key %q on an event with correlation id %q", r.Key, e.CorrelationID)
		}
		if r.Timestamp.UnixMilli() != e.Time.UnixMilli() {
			t.Errorf("record timestamp %v, event time %v", r.Timestamp, e.Time)
		}
		byID[e.ID.String()] = e
	}
	for _, e := range want {
		if got := byID[e.ID.String()]; got.Message != e.Message || len(got.Attributes) != len(e.Attributes) {
			t.Fatalf("got %+v, want %+v", got, e)
		}
	}
}

func TestJSONEventsCarryTheHeadersThatWereAskedFor(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Headers = []string{"event_id", "traceparent"} })
	batch := events(2)
	batch[0].TraceID, batch[0].SpanID, batch[0].Due = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1790000000123456789
	batch[1].ID, batch[1].Replays = batch[0].ID, 2
	if err := w.Write(t.Context(), event.NewBatch(batch)); err != nil {
		t.Fatal(err)
	}
	records := consume(t, broker.ListenAddrs(), "log-events", 2)
	traced, untraced := records[0], records[1]
	want := "event_id=" + batch[0].ID.String() + " traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := headerText(traced); got != want {
		t.Errorf("headers %q, want %q", got, want)
	}
	if got := headerText(untraced); got != "event_id="+batch[1].ID.String()+" x-dlq-replay-count=2" {
		t.Errorf("headers of an event without trace that was replayed: %q", got)
	}
	if traced.Timestamp.UnixMilli() != 1790000000123 {
		t.Errorf("timestamp %v is not the intended time", traced.Timestamp)
	}
	var e event.Event
	if err := eventjson.Decode(traced.Value, &e); err != nil || e.Message != batch[0].Message {
		t.Errorf("value %s: %v", traced.Value, err)
	}
}

func TestRawValuesAreTheBytesAsReceivedOrElseTheMessage(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) {
		if err := c.Value.UnmarshalText([]byte("raw")); err != nil {
			t.Fatal(err)
		}
	})
	batch := events(2)
	batch[0].Raw = []byte("a line\xff\x00as it was")
	if err := w.Write(t.Context(), event.NewBatch(batch)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range consume(t, broker.ListenAddrs(), "log-events", 2) {
		got = append(got, string(r.Value))
	}
	slices.Sort(got)
	want := []string{"a line\xff\x00as it was", batch[1].Message}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("values %q, want %q", got, want)
	}
}

func headerText(r *kgo.Record) string {
	var parts []string
	for _, h := range r.Headers {
		parts = append(parts, h.Key+"="+string(h.Value))
	}
	return strings.Join(parts, " ")
}

func TestOnePartitionThatFailsLeavesTheOthersDelivered(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]))
	refusePartition(broker, 1, kerr.TopicAuthorizationFailed.Code)
	b := event.NewBatch(events(2*portion + 300))
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for row := range b.Open() {
		if err := b.Err(row); err != nil {
			failed++
			if stage.ClassOf(err) != stage.Unfixable {
				t.Fatalf("a missing right must park the route: %v", err)
			}
		}
	}
	in := func(p int32) int { return int(broker.PartitionInfo("log-events", p).HighWatermark) }
	if in(1) != 0 || failed == 0 || in(0)+in(2)+failed != b.Len() {
		t.Errorf("%d failed, in the topic %d, %d, %d", failed, in(0), in(1), in(2))
	}
}

// refusePartition answers for one partition with an error, for the others with
// success after storing them.
func refusePartition(broker *kfake.Cluster, partition int32, code int16) {
	broker.Fault(kfake.Fault{Topic: "log-events", Partitions: []int32{partition}, Err: kerr.ErrorForCode(code).(*kerr.Error), Count: -1, Keys: []kmsg.Key{kmsg.Produce}})
}

func TestOnlyTheRecordThatIsTooLargeIsRefused(t *testing.T) {
	broker := fake(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000"}))
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Partitions, c.Compression = 1, "none" })
	batch := events(2*portion + 100)
	batch[17].Message = strings.Repeat("x", 30000)          // too large for this broker
	batch[18].Message = strings.Repeat("x", 2000000)        // too large for the client
	batch[portion+17].Message = strings.Repeat("x", 30000)  // when others were handed over before
	batch[2*portion].Message = strings.Repeat("x", 2000000) // as the first of those that are encoded last
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for row := range batch {
		bad := row == 17 || row == 18 || row == portion+17 || row == 2*portion
		if bad && !strings.Contains(b.Err(row).Error(), "batch_bytes") {
			t.Errorf("row %d does not say what to set: %v", row, b.Err(row))
		}
		if got := b.Outcome(row) == event.Refused; got != bad || !bad && b.Err(row) != nil {
			t.Errorf("row %d: %v, %v", row, b.Outcome(row), b.Err(row))
		}
	}
	if n := broker.PartitionInfo("log-events", 0).HighWatermark; int(n) != len(batch)-4 {
		t.Errorf("%d records are in the topic, want %d", n, len(batch)-4)
	}
}

func TestAnEventThatTheSchemaCannotHoldIsRefusedAlone(t *testing.T) {
	broker := fake(t)
	file := t.TempDir() + "/narrow.avsc"
	write(t, file, `{"type":"record","name":"Narrow","fields":[{"name":"id","type":"string"},
		{"name":"level","type":{"type":"enum","name":"L","symbols":["INFO"]}},{"name":"message","type":"string"}]}`)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Value.Avro = stage.Path(file) })
	batch := events(3)
	batch[1].Level = event.LevelFatal
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Outcome(1) != event.Refused || !strings.Contains(b.Err(1).Error(), "level") {
		t.Errorf("%v: %v", b.Outcome(1), b.Err(1))
	}
	consume(t, broker.ListenAddrs(), "log-events", 2)
}

func TestABrokerThatNeverAnswersFailsTheEventsWithinTheDeliveryTimeout(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), short)
	silence := make(chan struct{})
	broker.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		select {
		case <-silence:
			return nil, nil, false
		default:
			return nil, nil, true // heard, never answered
		}
	})
	b := event.NewBatch(events(portion + 500))
	for range 2 { // the second has to connect anew, to a broker that does not even say hello
		b.ClearErrs()
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for row := range b.Open() {
			if err := b.Err(row); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "delivery_timeout") {
				t.Fatalf("row %d: %v (%v)", row, err, stage.ClassOf(err))
			}
		}
	}
	close(silence)
	again(t, w, b)
	if n := len(consume(t, broker.ListenAddrs(), "log-events", b.Len())); n < b.Len() {
		t.Errorf("%d records after the broker came back", n)
	}
}

// again writes until all events are through, as the engine would.
func again(t *testing.T, w *writer, b *event.Batch) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		b.ClearErrs()
		if err := w.Write(t.Context(), b); err == nil && b.FirstErr(event.Open) == nil {
			return
		}
	}
	t.Fatalf("the events never went through: %v", b.FirstErr(event.Open))
}

func TestABrokerThatGoesAwayAndComesBackLosesNothing(t *testing.T) {
	dir, port := t.TempDir(), ports.One(t) // which nobody takes while the broker is away
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(port))
	if err != nil {
		t.Fatal(err)
	}
	address := ports.Address(port)
	w := openSink(t, clusterAt(t, address), short)
	batch := events(500)
	again(t, w, event.NewBatch(batch[:100]))
	broker.Close()
	b := event.NewBatch(batch[100:])
	for deadline := time.Now().Add(time.Minute); ; { // one attempt may end before it has asked the broker at all
		b.ClearErrs()
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		err := b.FirstErr(event.Open)
		if err != nil && strings.Contains(err.Error(), "refused") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the error does not say what is wrong: %v", err)
		}
	}
	fake(t, kfake.DataDir(dir), kfake.Ports(port))
	again(t, w, b)
	seen := map[string]bool{}
	consumeUntil(t, []string{address}, "log-events", func(r *kgo.Record) bool { // an attempt that was late may have written some twice
		seen[string(r.Key)] = true
		return len(seen) == 500
	})
}

func TestTheEndOfTheRouteEndsAWriteAtOnce(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.DeliveryTimeout = stage.Duration(time.Hour) })
	ctx, cancel := context.WithCancel(t.Context())
	broker.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		cancel() // while the records are in flight
		return nil, nil, true
	})
	b := event.NewBatch(events(100))
	if err := w.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
	for row := range b.Open() {
		if !errors.Is(b.Err(row), context.Canceled) || stage.ClassOf(b.Err(row)) != stage.Stopped {
			t.Fatalf("row %d: %v", row, b.Err(row))
		}
	}
}

func TestAProducerThatLostItsPlaceRecovers(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			broker := fake(t)
			w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), short)
			broker.Fault(kfake.Fault{Topic: "log-events", Err: e, Count: 2, Keys: []kmsg.Key{kmsg.Produce}})
			again(t, w, event.NewBatch(events(100)))
			consume(t, broker.ListenAddrs(), "log-events", 100)
		})
	}
}

func TestATopicThatWasDeletedIsMadeAgain(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), short)
	again(t, w, event.NewBatch(events(10)))
	if err := broker.DeleteTopic("log-events"); err != nil {
		t.Fatal(err)
	}
	again(t, w, event.NewBatch(events(10)))
	if n := len(broker.PartitionInfos("log-events")); n != 3 {
		t.Errorf("the topic came back with %d partitions, want 3", n)
	}
}

func TestAnIncompatibleSchemaStopsTheRouteBeforeItsFirstEvent(t *testing.T) {
	broker := fake(t)
	cluster := clusterAt(t, broker.ListenAddrs()[0])
	openSink(t, cluster, func(c *Config) { c.Value.Avro = schemaFile })
	file := t.TempDir() + "/changed.avsc"
	write(t, file, `{"type":"record","name":"LogEvent","namespace":"millrace","fields":[
		{"name":"id","type":{"type":"fixed","name":"EventID","size":16}},{"name":"message","type":"string"},{"name":"tenant","type":"string"}]}`)
	_, err := config(func(c *Config) { c.Value.Avro = stage.Path(file) }).Open(t.Context(), using(t, cluster))
	if stage.ClassOf(err) != stage.Unfixable {
		t.Fatalf("want a fatal error, got %v", err)
	}
	for _, part := range []string{"log-events-value", "tenant", "BACKWARD"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}
