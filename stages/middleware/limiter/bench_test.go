package limiter

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestGrantedBatchAllocatesNothing(t *testing.T) {
	l := open(t, config(func(c *Config) { c.Rate = 1e9 }))
	b := batchOf(500)
	events := make([]event.Event, 500)
	msg := stage.Message(t.Context(), b)
	h := l.Wrap(deliver)
	if n := testing.AllocsPerRun(1000, func() {
		b.Reset(events)
		if _, err := h(msg); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

func deliver(msg *message.Message) ([]*message.Message, error) {
	stage.BatchOf(msg).SettleOpen(event.Delivered)
	return nil, nil
}

func BenchmarkDecision(b *testing.B) {
	for name, c := range map[string]*Config{
		"sliding_window": config(func(c *Config) { c.Rate = 1e12 }),
		"token_bucket":   config(func(c *Config) { c.Algorithm, c.Rate = tokenBucket, 1e12 }),
	} {
		b.Run(name, func(b *testing.B) {
			l := open(b, c)
			ctx, c := b.Context(), new(claim)
			b.ReportAllocs()
			for b.Loop() {
				if a, _, err := l.desk.ask(ctx, c, 500); a.granted != 500 || err != nil {
					b.Fatal(a, err)
				}
			}
		})
	}
}

// BenchmarkBatch is a whole pass of a batch of 500 that is granted, beside one
// without a limiter.
func BenchmarkBatch(b *testing.B) {
	l := open(b, config(func(c *Config) { c.Rate = 1e12 }))
	for name, h := range map[string]message.HandlerFunc{"limiter": l.Wrap(deliver), "without": deliver} {
		b.Run(name, func(b *testing.B) {
			events := make([]event.Event, 500)
			batch := event.NewBatch(events)
			msg := stage.Message(b.Context(), batch)
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset(events)
				if _, err := h(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
