package breaker

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

func deliver(msg *message.Message) ([]*message.Message, error) {
	stage.BatchOf(msg).SettleOpen(event.Delivered)
	return nil, nil
}

func TestClosedBreakerAllocatesNothing(t *testing.T) {
	r := build(t, func(c *Config) { c.Window = circuit.Window{Span: 10 * time.Second} })
	events := make([]event.Event, 500)
	b := event.NewBatch(events)
	msg, h := stage.Message(t.Context(), b), r.Wrap(deliver)
	if n := testing.AllocsPerRun(1000, func() {
		b.Reset(events)
		if _, err := h(msg); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

// BenchmarkDecision is what a batch pays: asking, and telling the result.
func BenchmarkDecision(b *testing.B) {
	for name, w := range map[string]circuit.Window{"count": {Calls: 100}, "time": {Span: 10 * time.Second}} {
		b.Run(name, func(b *testing.B) {
			r := build(b, func(c *Config) { c.Window = w })
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				p, err := r.circuit.Enter(ctx, true)
				if err != nil {
					b.Fatal(err)
				}
				r.circuit.Leave(p, circuit.Success)
			}
		})
	}
}
