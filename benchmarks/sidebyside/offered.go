package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages"
)

// offered counts the events that a generator offers in real time when nothing
// pushes back, and how late they come: batches do not linger, so that it is the
// schedule that is measured. It runs the engine in this process, to look at each
// event.
func (b *bench) offered() error {
	took := or(b.duration, 10*time.Second)
	rates, err := numbersOf("-rates", or(b.rates, "1,10,1000,10000,100000,1000000"))
	if err != nil {
		return err
	}
	fmt.Printf("generator into drop for %v; late is from when an event was due to when it came to the sink, in batches that do not linger\n%-9s %10s %10s %8s %10s %10s %10s\n",
		took, "rate", "offered", "rate*time", "off by", "late p50", "late p99", "late max")
	for _, rate := range rates {
		t, err := b.offer(rate, took)
		if err != nil {
			return err
		}
		want := int64(math.Floor(float64(rate) * took.Seconds()))
		late := func(q float64) time.Duration { return time.Duration(t.late.ValueAtPercentile(q)) * time.Microsecond }
		fmt.Printf("%-9d %10d %10d %8d %10v %10v %10v\n", rate, t.counted, want, t.counted-want, late(50), late(99), time.Duration(t.late.Max())*time.Microsecond)
		b.record("offered", map[string]any{"rate": rate, "offered": t.counted, "want": want, "late_p50_us": late(50).Microseconds(),
			"late_p99_us": late(99).Microseconds(), "late_max_us": t.late.Max()})
	}
	return nil
}

// offer runs one rate until an event comes that was due after the time.
func (b *bench) offer(rate int, took time.Duration) (*tally, error) {
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	t := &tally{took: took, enough: stop, late: hdrhistogram.New(1, time.Minute.Microseconds(), 3)}
	catalogue := append(stages.All(), stage.Stage{Name: "tally", Kind: stage.KindTransform, New: func() any { return &tallyConfig{t} }})
	p, err := config.Parse(catalogue, "offered.yaml", fmt.Appendf(nil, `
pipeline: offered
state: %s
routes:
  r:
    source: {generator: {rate: %d/s}}
    batch: {size: 1000, linger: 0s}
    middleware: [{tally: {}}]
    sink: {drop: {}}
`, filepath.Join(b.scratch, fmt.Sprint("offered-", rate)), rate), config.Options{})
	if err != nil {
		return nil, err
	}
	e, err := engine.New(ctx, p, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return t, e.Run(ctx)
}

type tallyConfig struct{ *tally }

func (c *tallyConfig) Open(context.Context, stage.Settings) (stage.Applier, error) {
	return c.tally, nil
}

// tally looks at events on their way to the sink.
type tally struct {
	took   time.Duration
	enough func()

	mu      sync.Mutex
	first   int64
	counted int64 // due in the time from the first on
	late    *hdrhistogram.Histogram
}

func (t *tally) Close(context.Context) error { return nil }

// Apply counts. Batches may overtake each other, so it goes by when events
// were due, and the first event of all is in the first batch, which is alone.
func (t *tally) Apply(_ context.Context, b *event.Batch) error {
	now := time.Now().UnixNano()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range b.Open() {
		if t.first == 0 || e.Due < t.first {
			t.first = e.Due
		}
		if e.Due-t.first >= t.took.Nanoseconds() {
			t.enough()
			continue
		}
		t.counted++
		if err := t.late.RecordValue(max(1, (now-e.Due)/1000)); err != nil {
			return stage.Fatal(err)
		}
	}
	return nil
}
