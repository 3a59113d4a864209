// Package benchmarks measures whole pipelines, side by side with what they
// have to be compared with. Method and results: README.md.
package benchmarks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages"
)

// underway is how many parcels are out at once: those in flight, and some that
// wait, as with a source that is faster than its route.
const underway = 8

// ready is a source of events that cost next to nothing: it hands out the same
// few parcels again and again, until it has handed out enough.
type ready struct {
	parcels int
	free    chan event.Parcel
	gap     int64 // nanoseconds between the times at which two events are due
}

type readyConfig struct{ *ready }

func (c readyConfig) Open(context.Context, stage.Settings) (stage.Reader, error) { return c, nil }
func (r *ready) Close(context.Context) error                                     { return nil }

// Read says when the events were due, as every source has to: latency is part
// of the engine's cost.
func (r *ready) Read(context.Context) (event.Parcel, error) {
	if r.parcels == 0 {
		return event.Parcel{}, io.EOF
	}
	r.parcels--
	p := <-r.free
	due := time.Now().UnixNano() - int64(len(p.Events))*r.gap
	for i := range p.Events {
		p.Events[i].Due = due + int64(i)*r.gap
	}
	return p, nil
}

func newReady(parcels, size int, gap int64) *ready {
	r := &ready{parcels: parcels, free: make(chan event.Parcel, underway), gap: gap}
	for range underway {
		p := event.Parcel{Events: make([]event.Event, size), Bytes: 100 * size} // as the generator and Kafka tell
		for i := range p.Events {
			p.Events[i] = event.Event{Message: "user 12 logged in", Source: "auth", Level: event.LevelInfo}
		}
		p.Done = func(event.Receipt) { r.free <- p }
		r.free <- p
	}
	return r
}

// BenchmarkEngine is the cost of one batch through everything but its content:
// reading, batching, the router, four middlewares, the sink's handler, the
// books, the receipt; four batches are in flight. One operation is one batch.
//
// ns/op is the time from one batch to the next, with all cores at work;
// cpu-us/op is what it costs, in user and kernel mode on all cores, with the
// garbage collector.
//
// due=together: all events of a batch were due at the same moment, as they are
// at the rate max and from HTTP. due=10us: each has a time of its own, as they
// have at 100k events a second, and so a latency of its own to be recorded.
func BenchmarkEngine(b *testing.B) {
	for _, gap := range []int64{0, 10_000} {
		for _, size := range []int{1, 16, 500} {
			due := map[bool]string{true: "together", false: "10us"}[gap == 0]
			b.Run(fmt.Sprintf("due=%s/batch=%d", due, size), func(b *testing.B) { benchmarkEngine(b, size, gap) })
		}
	}
}

func benchmarkEngine(b *testing.B, size int, gap int64) {
	src := newReady(b.N, size, gap)
	catalogue := append(stages.All(), stage.Stage{
		Name: "ready", Kind: stage.KindSource, New: func() any { return &readyConfig{src} },
	})
	p, err := config.Parse(catalogue, "bench.yaml", fmt.Appendf(nil, `
pipeline: bench
state: %s
routes:
  r:
    source: {ready: {}}
    batch: {size: %d, linger: 0s, in_flight: 4}
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
	before := cpuTime(b)
	if err := e.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	cpu := cpuTime(b) - before
	b.StopTimer()
	if r := e.Report().Routes["r"]; r.Delivered != int64(b.N*size) || r.Batches != int64(b.N) {
		b.Fatalf("%d events in %d batches were delivered, want %d in %d", r.Delivered, r.Batches, b.N*size, b.N)
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
}

// cpuTime is what this process has used so far, on all cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
