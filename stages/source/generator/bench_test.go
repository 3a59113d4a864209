package generator

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// BenchmarkRead is the whole cost of an event, as the engine meets it: pacing,
// id, times and content, at the rate max. One operation is one event.
func BenchmarkRead(b *testing.B) {
	for _, threads := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			benchmarkRead(b, func(c *Config) { c.Threads = threads })
		})
	}
	b.Run("payload=512", func(b *testing.B) {
		benchmarkRead(b, func(c *Config) { c.Content.Payload = Sizes{512, 512} })
	})
	b.Run("rate=1G", func(b *testing.B) { // with an intended time to work out for each event
		benchmarkRead(b, func(c *Config) { c.Rate = 1e9 })
	})
}

func benchmarkRead(b *testing.B, change func(*Config)) {
	c := Stage.New().(*Config)
	c.Rate = Max
	change(c)
	r, err := c.Open(context.Background(), stage.Settings{
		Name: "generator", Instance: "bench-1", Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, receipt, size := context.Background(), event.Receipt{}, 0
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for n < b.N {
		p, err := r.Read(ctx)
		if err != nil {
			b.Fatal(err)
		}
		size += p.Events[0].Size()
		n += len(p.Events)
		p.Done(receipt)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ev/s")
}
