package books_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/books"
	"millrace/engine/event"
)

func TestBooksThatDoNotBalanceSayByHowMuch(t *testing.T) {
	b := books.New()
	b.In(10, 1000)
	b.Settled(event.Delivered, 7)
	b.Settled(event.Poisoned, 1)
	b.CountInFlight(func() int64 { return 2 })
	if err := b.Page().Check(); err != nil {
		t.Error(err)
	}
	b.Settled(event.Delivered, 1) // one twice
	err := b.Page().Check()
	if err == nil || !strings.Contains(err.Error(), "in 10") || !strings.Contains(err.Error(), "+1") {
		t.Errorf("error %v", err)
	}
}

func TestLatencyIsCountedFromWhenEventsWereDue(t *testing.T) {
	b := books.New()
	now := time.Now().UnixNano()
	list := []event.Event{
		{Due: now - int64(10*time.Millisecond)}, {Due: now - int64(10*time.Millisecond)},
		{Due: now - int64(time.Second)}, {}, // unknown: left out
	}
	b.Latency(list, now)
	l := b.Latencies()
	if l.Count() != 3 {
		t.Errorf("%d latencies", l.Count())
	}
	for q, want := range map[float64]time.Duration{.5: 10 * time.Millisecond, 1: time.Second} {
		if got := l.Quantile(q); got < want || got > want+want/100 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestLatenciesSinceAnEarlierLook(t *testing.T) {
	b := books.New()
	now := time.Now().UnixNano()
	b.Latency([]event.Event{{Due: now - int64(time.Minute)}}, now)
	earlier := b.Latencies()
	b.Latency([]event.Event{{Due: now - int64(time.Millisecond)}}, now)
	l := b.Latencies().Since(earlier)
	if l.Count() != 1 || l.Quantile(1) > 2*time.Millisecond {
		t.Errorf("%d latencies, the largest %v", l.Count(), l.Quantile(1))
	}
}

func TestAnEventDueInTheFutureOrLongAgoStillCounts(t *testing.T) {
	b := books.New()
	now := time.Now().UnixNano()
	b.Latency([]event.Event{{Due: now + int64(time.Hour)}, {Due: 1}}, now)
	if got := b.Latencies().Count(); got != 2 {
		t.Errorf("%d latencies", got)
	}
}

func TestALatencyIsKnownToOnePercent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		late := time.Duration(rapid.Int64Range(int64(time.Microsecond), int64(time.Hour)).Draw(rt, "late"))
		b := books.New()
		now := time.Now().UnixNano()
		b.Latency([]event.Event{{Due: now - int64(late)}}, now)
		got := b.Latencies().Quantile(.5)
		if got < late.Truncate(time.Microsecond) || float64(got) > float64(late)*1.01+1 {
			rt.Fatalf("%v is told as %v", late, got)
		}
	})
}

func TestBucketsAreCumulative(t *testing.T) {
	b := books.New()
	now := time.Now().UnixNano()
	for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 3 * time.Second} {
		b.Latency([]event.Event{{Due: now - int64(d)}}, now)
	}
	counts, n, sum := b.Latencies().Buckets([]float64{.005, .1, 10})
	if counts[.005] != 1 || counts[.1] != 2 || counts[10] != 3 || n != 3 || sum < 3.02 || sum > 3.03 {
		t.Errorf("%v, %d, %v", counts, n, sum)
	}
}
