package limiter

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Over any saturated run the limiter stays within 0.1 % below its limit and
// never above it, in any window, whatever the batches.
func TestSaturatedRateIsTheLimit(t *testing.T) {
	fewer(t, "30")
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(1000, 10_000).Draw(rt, "rate")
		length := time.Duration(rapid.IntRange(100, 2000).Draw(rt, "window ms")) * time.Millisecond
		workers := rapid.IntRange(1, 6).Draw(rt, "workers")
		limit := int(float64(rate) * length.Seconds())
		size := rapid.IntRange(max(1, limit/150), limit*2)
		sizes := rapid.SliceOfN(size, workers, workers*8).Draw(rt, "sizes")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 50), 1, 20).Draw(rt, "pauses µs")

		s := saturate(t, config(func(c *Config) {
			c.Rate, c.Window = stage.Rate(float64(limit)/length.Seconds()), stage.Duration(length)
		}), workers, sizes, pauses, 6*length)
		if most := s.log.mostIn(length); most > limit {
			rt.Fatalf("%d events in one window, limit %d", most, limit)
		}
		if got, want := s.log.before(6*length), 6*limit; float64(got) < 0.999*float64(want) {
			rt.Fatalf("%d events in 6 windows of %d: more than 0.1%% below", got, limit)
		}
	})
}

func TestAHundredThousandASecondInBatchesOf500(t *testing.T) {
	const limit = 100_000
	s := saturate(t, config(func(c *Config) { c.Rate = limit }), 4, []int{500}, []int{0, 130, 7, 900, 41}, 10*time.Second)
	if most := s.log.mostIn(time.Second); most > limit {
		t.Errorf("%d events in one window", most)
	}
	if got := s.log.before(10 * time.Second); float64(got) < 0.999*10*limit {
		t.Errorf("%d events in 10s: more than 0.1%% below the limit", got)
	}
}

// However seldom and irregularly batches come, no window holds too much.
func TestIrregularArrivalsNeverExceedTheLimit(t *testing.T) {
	fewer(t, "30")
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 5000).Draw(rt, "limit")
		workers := rapid.IntRange(1, 6).Draw(rt, "workers")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 2*limit), workers, 30).Draw(rt, "sizes")
		pauses := rapid.SliceOfN(rapid.IntRange(1000, 1_500_000), 1, 30).Draw(rt, "pauses µs")

		s := saturate(t, config(func(c *Config) { c.Rate = stage.Rate(limit) }), workers, sizes, pauses, 20*time.Second)
		if most := s.log.mostIn(time.Second); most > limit {
			rt.Fatalf("%d events in one window, limit %d", most, limit)
		}
	})
}

func TestSaturatedBucketKeepsItsRate(t *testing.T) {
	fewer(t, "30")
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(1000, 10_000).Draw(rt, "rate")
		burst := rapid.IntRange(rate/100, rate).Draw(rt, "burst")
		workers := rapid.IntRange(1, 6).Draw(rt, "workers")
		sizes := rapid.SliceOfN(rapid.IntRange(rate/50, rate/5), workers, workers*8).Draw(rt, "sizes")

		const length = 3 * time.Second
		s := saturate(t, config(func(c *Config) {
			c.Algorithm, c.Rate, c.Burst = "token_bucket", stage.Rate(rate), burst
		}), workers, sizes, []int{0}, length)
		want := float64(burst) + float64(rate)*length.Seconds()
		// What the last batch still waits for is less than half a bucket.
		if got := float64(s.log.before(length)); got > want+1 || got < 0.999*want-float64(burst)/2 {
			rt.Fatalf("%v events, want %v", got, want)
		}
	})
}

func (n naive) before(end time.Duration) (sum int) {
	for _, g := range n {
		if g.at < end {
			sum += g.weight
		}
	}
	return sum
}

// saturate keeps workers busy with batches for a while of synthetic time.
func saturate(t *testing.T, c *Config, workers int, sizes, pauses []int, length time.Duration) (s *sink) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, c)
		s = newSink()
		h := l.Wrap(s.handle)
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		events := make([]event.Event, slices.Max(sizes)) // nobody looks into them
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; ctx.Err() == nil; i++ {
					if run(ctx, h, event.NewBatch(events[:sizes[i%len(sizes)]])) != nil {
						return
					}
					time.Sleep(time.Duration(pauses[i%len(pauses)]) * time.Microsecond)
				}
			})
		}
		wg.Wait()
	})
	return s
}
