package limiter

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

func sharedWindow(limit int, length time.Duration) func() *Config {
	return func() *Config {
		return config(func(c *Config) { c.Rate, c.Window = stage.Rate(float64(limit)/length.Seconds()), stage.Duration(length) })
	}
}

func TestInstancesThatWantAllShareTheLimitFairlyAndUseIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10_000
		f := newFleet(t, 4, sharedWindow(limit, time.Second))
		f.server.latency = 300 * time.Microsecond
		f.flood(4, 50)
		time.Sleep(2 * time.Second)
		before := make([]int, len(f.all))
		for i := range f.all {
			f.sink.mu.Lock()
			before[i] = f.all[i].got
			f.sink.mu.Unlock()
		}
		calls := f.all[0].desk.lender.number
		time.Sleep(4 * time.Second)
		for i := range f.all {
			f.sink.mu.Lock()
			share := float64(f.all[i].got-before[i]) / 4 / limit
			f.sink.mu.Unlock()
			if share < 0.2 || share > 0.3 {
				t.Errorf("instance %d of 4 got %.3f of the limit", i, share)
			}
		}
		t.Logf("%d calls of an instance in 4s", f.all[0].desk.lender.number-calls)
		f.end()
		if most := f.sink.log.mostIn(time.Second); most > limit {
			t.Errorf("%d events in one second, limit %d", most, limit)
		}
		used := float64(f.sink.log.between(2*time.Second, 6*time.Second)) / 4 / limit
		t.Logf("%.4f of the limit used", used)
		if used < 0.95 {
			t.Errorf("only %.3f of the limit was used", used)
		}
	})
}

// However many instances there are, whatever they want and however slow the
// way to Redis is, no window holds more than the limit.
func TestNoWindowHoldsMoreThanTheSharedLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 3000).Draw(rt, "limit")
		length := time.Duration(rapid.IntRange(200, 1500).Draw(rt, "window ms")) * time.Millisecond
		instances := rapid.IntRange(1, 4).Draw(rt, "instances")
		sizes := rapid.SliceOfN(rapid.IntRange(1, limit), 3, 10).Draw(rt, "sizes")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 40), 3, 10).Draw(rt, "pauses ms")
		latency := time.Duration(rapid.IntRange(0, 3000).Draw(rt, "latency µs")) * time.Microsecond
		var log naive
		var logs string
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, instances, sharedWindow(limit, length))
			f.server.latency = latency
			for i := range f.all {
				f.drive(i, 2, func(n int) int { return sizes[(n+i)%len(sizes)] }, func(n int) time.Duration {
					return time.Duration(pauses[(n+i)%len(pauses)]) * time.Millisecond
				})
			}
			time.Sleep(5 * length / 2)
			f.end()
			log = f.sink.log
			for _, i := range f.all {
				logs += i.log.String()
			}
		})
		if most := log.mostIn(length); most > limit {
			rt.Fatalf("%d events in one window, limit %d", most, limit)
		}
		if len(log) == 0 {
			rt.Fatalf("nothing passed:\n%s", logs)
		}
	})
}
