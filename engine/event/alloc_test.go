package event_test

import (
	"testing"

	"millrace/engine/event"
)

// usual is what happens to a batch that goes well: used again, told where from,
// iterated by its sink, settled whole.
func usual(b *event.Batch, events []event.Event) (bytes int) {
	b.Reset(events)
	b.AddOrigin(len(events), event.Origin{Kind: "kafka", Name: "topic"})
	b.ClearErrs()
	for _, e := range b.Pending(1).Open() {
		bytes += e.Size()
	}
	b.SettleOpen(event.Delivered)
	return bytes
}

func TestABatchThatGoesWellAllocatesNothing(t *testing.T) {
	events := make([]event.Event, 500)
	b := event.NewBatch(events)
	settled := 0
	b.OnSettle(func(_, n int, _ event.Outcome) { settled += n })
	usual(b, events) // the first use may grow
	if got := testing.AllocsPerRun(100, func() { usual(b, events) }); got != 0 {
		t.Errorf("%v allocations for a batch of 500, want none", got)
	}
	if settled == 0 {
		t.Error("the observer was told nothing")
	}
}

func TestViewsCostPerViewNotPerEvent(t *testing.T) {
	b := batchOf(500)
	if got := testing.AllocsPerRun(100, func() { b.Select(odd) }); got > 2 {
		t.Errorf("%v allocations for a view, want at most 2", got)
	}
	if got := testing.AllocsPerRun(100, func() { b.Split(250) }); got > 3 {
		t.Errorf("%v allocations for a split, want at most 3", got)
	}
}

func TestSettlingEventByEventAllocatesNothing(t *testing.T) {
	events := make([]event.Event, 500)
	b := event.NewBatch(events)
	got := testing.AllocsPerRun(100, func() {
		b.Reset(events)
		for row := range b.Open() {
			b.Settle(row, event.Delivered)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func BenchmarkBatchDelivered(b *testing.B) {
	events := make([]event.Event, 500)
	batch := event.NewBatch(events)
	batch.OnSettle(func(int, int, event.Outcome) {})
	b.ReportAllocs()
	for b.Loop() {
		usual(batch, events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
}

func BenchmarkForkJoin(b *testing.B) {
	events := make([]event.Event, 500)
	batch := event.NewBatch(events)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset(events)
		deliverAll(batch.Fork("fan", 2))
		batch.Join("fan")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
}
