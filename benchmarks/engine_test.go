// Package benchmarks measures whole pipelines, side by side with what they
// have to be compared with. Method and results: README.md.
package benchmarks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages"
)

// ready is a source of events that cost nothing: it hands out the same ones
// again and again, one parcel a batch, until it has handed out enough.
type ready struct {
	parcel  event.Parcel
	parcels int
	free    chan struct{}
}

type readyConfig struct{ *ready }

func (c readyConfig) Open(context.Context, stage.Settings) (stage.Reader, error) { return c, nil }
func (r *ready) Close(context.Context) error                                     { return nil }

func (r *ready) Read(context.Context) (event.Parcel, error) {
	if r.parcels == 0 {
		return event.Parcel{}, io.EOF
	}
	<-r.free
	r.parcels--
	return r.parcel, nil
}

// BenchmarkEngine is the cost of one batch through everything but its content:
// reading, batching, the router, four middlewares, the sink's handler, the
// books, the receipt.
func BenchmarkEngine(b *testing.B) {
	for _, size := range []int{1, 16, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			events := make([]event.Event, size)
			for i := range events {
				events[i] = event.Event{Message: "user 12 logged in", Source: "auth", Level: event.LevelInfo, Due: 1}
			}
			// One parcel is out at a time, since all are the same memory.
			src := &ready{parcels: b.N, free: make(chan struct{}, 1)}
			src.free <- struct{}{}
			src.parcel = event.Parcel{Events: events, Done: func(event.Receipt) { src.free <- struct{}{} }}
			catalogue := append(stages.All(), stage.Stage{
				Name: "ready", Kind: stage.KindSource, New: func() any { return &readyConfig{src} },
			})
			p, err := config.Parse(catalogue, "bench.yaml", fmt.Appendf(nil, `
pipeline: bench
state: %s
routes:
  r:
    source: {ready: {}}
    batch: {size: %d, linger: 0s}
    middleware: [{poison_queue: {}}, {limiter: {rate: 1000M/s}}, {retry: {}}, {breaker: {}}]
    sink: {drop: {}}
`, b.TempDir(), size), config.Options{})
			if err != nil {
				b.Fatal(err)
			}
			e, err := engine.New(b.Context(), p, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := e.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if in := e.Report().Routes["r"].In; in != int64(b.N*size) {
				b.Fatalf("%d events of %d arrived", in, b.N*size)
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
