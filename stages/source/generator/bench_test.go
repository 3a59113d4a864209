package generator

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

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
		benchmarkRead(b, func(c *Config) { c.Content.Payload = Payload{Size: Sizes{512, 512}} })
	})
	for _, format := range []string{formatJSON, formatLogfmt, formatRFC5424} {
		b.Run(format, func(b *testing.B) { benchmarkRead(b, func(c *Config) { c.Content.Format = format }) })
	}
	b.Run("combined", func(b *testing.B) {
		benchmarkRead(b, func(c *Config) { c.Content.Template = "access_logs" })
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

// BenchmarkLag paces 100k events per second in real time, and tells how long
// after its intended time an event is handed out. One operation is one event.
func BenchmarkLag(b *testing.B) {
	c := Stage.New().(*Config)
	c.Rate, c.Count = 100_000, int64(b.N)
	r, err := c.Open(context.Background(), stage.Settings{
		Name: "generator", Instance: "bench-1", Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
	})
	if err != nil {
		b.Fatal(err)
	}
	lags := make([]int64, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for {
		p, err := r.Read(context.Background())
		if err != nil {
			break
		}
		now := time.Now().UnixNano()
		for i := range p.Events {
			lags = append(lags, now-p.Events[i].Due)
		}
		p.Done(event.Receipt{})
	}
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(lags[len(lags)*99/100])/1e6, "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ev/s")
}
