package logevent_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/benchmarks/internal/logevent"
	"millrace/engine/event"
	"millrace/engine/stage"
	kafkares "millrace/stages/resource/kafka"
	kafkasink "millrace/stages/sink/kafka"
	"millrace/stages/source/generator"
)

func settings() stage.Settings {
	return stage.Settings{
		Pipeline: "test", Route: "route", Name: "kafka", Instance: "test-1", Log: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock, Mount: func(string, http.Handler) error { return nil },
	}
}

// generated is a parcel of the day 2 content, with values of the other kinds
// added.
func generated(t *testing.T) event.Parcel {
	t.Helper()
	c := generator.Stage.New().(*generator.Config)
	c.Rate = generator.Max
	r, err := c.Open(t.Context(), settings())
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &p.Events[0]
	e.SetAttribute("int", event.Int(-300))
	e.SetAttribute("float", event.Float(2.5))
	e.SetAttribute("bool", event.Bool(true))
	e.Message = string(bytes.Repeat([]byte("long "), 100))
	p.Events[1].Attributes = nil
	return p
}

// write sends the events by the sink that the engine uses, and reads back what
// came out.
func write(t *testing.T, p event.Parcel) []*kgo.Record {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	res := kafkares.Stage.New().(*kafkares.Config)
	res.Brokers, res.Registry = broker.ListenAddrs()[0], "embedded"
	cluster, err := res.Open(t.Context(), settings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	sink := kafkasink.Stage.New().(*kafkasink.Config)
	sink.Topic, sink.Partitions, sink.Value.Avro = "t", 1, "../../../schemas/log_event.avsc"
	s := settings()
	s.Resource = func(string) (any, error) { return cluster, nil }
	w, err := sink.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background()) })
	if err := w.Write(t.Context(), event.NewBatch(p.Events)); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var got []*kgo.Record
	for len(got) < len(p.Events) {
		got = append(got, client.PollFetches(t.Context()).Records()...)
	}
	return got
}

func TestTheBareLoopWritesTheSameBytesAsTheSink(t *testing.T) {
	p := generated(t)
	for i, r := range write(t, p) {
		want := logevent.Append(append([]byte(nil), r.Value[:logevent.FrameSize]...), &p.Events[i])
		if !bytes.Equal(r.Value, want) {
			t.Fatalf("event %d:\n sink %x\n bare %x", i, r.Value, want)
		}
	}
}

func TestTheBareLoopReadsWhatWasWritten(t *testing.T) {
	p := generated(t)
	var row logevent.Row
	for i := range p.Events {
		e := &p.Events[i]
		if err := logevent.Decode(logevent.Append(nil, e), &row); err != nil {
			t.Fatal(err)
		}
		if row.ID != e.ID || row.Time.UnixMicro() != e.Time.UnixMicro() || row.Level != e.Level.String() || row.Source != e.Source ||
			row.Host != e.Host || row.Message != e.Message || row.CorrelationID != e.CorrelationID || row.TraceID != e.TraceID ||
			row.SpanID != e.SpanID || row.Organisation != e.Organisation || row.Stack != e.StackTrace || len(row.Metadata) != len(e.Attributes) {
			t.Fatalf("event %d: %+v is read as %+v", i, e, row)
		}
		for j, a := range e.Attributes {
			if m := row.Metadata[j]; m.Key != a.Key || m.Value != a.Value.String() {
				t.Fatalf("event %d: %v is read as %v", i, a, m)
			}
		}
	}
}

func TestACutRecordIsAnError(t *testing.T) {
	p := generated(t)
	body := logevent.Append(nil, &p.Events[0])
	var row logevent.Row
	for n := range body {
		if logevent.Decode(body[:n], &row) == nil {
			t.Fatalf("%d of %d bytes are read as a record", n, len(body))
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e := event.Event{Level: event.LevelInfo, Source: "payment-service", Host: "node-17", Message: "Payment of 100.01 EUR for order ord-1 captured",
		CorrelationID: "0190a5d0-ac96-774b-bcce-b302099a8057", Attributes: []event.Attribute{
			{Key: "thread_id", Value: event.String("worker-3")}, {Key: "instance_id", Value: event.String("host-1")},
			{Key: "request_id", Value: event.String("req-0123456789abcdef")}, {Key: "user_id", Value: event.String("user-123")}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = logevent.Append(buf[:0], &e)
	}
	b.SetBytes(int64(len(buf)))
}
