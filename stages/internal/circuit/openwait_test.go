package circuit

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWaitsGrowUpToTheirMost(t *testing.T) {
	w := openWait{first: 5 * time.Second, multiplier: 2, most: 30 * time.Second}
	for i, want := range []time.Duration{5, 10, 20, 30, 30} {
		if got := w.wait(i + 1); got != want*time.Second {
			t.Errorf("wait %d is %v, want %v", i+1, got, want*time.Second)
		}
	}
	if got := w.wait(1 << 62); got != 30*time.Second {
		t.Errorf("after years it is %v", got)
	}
	w = openWait{first: 5 * time.Second, multiplier: 1, most: time.Second}
	if got := w.wait(1 << 62); got != 5*time.Second {
		t.Errorf("a constant wait is %v", got)
	}
	w = openWait{first: time.Millisecond, multiplier: 1.5, most: time.Hour}
	if got := w.wait(1 << 62); got != time.Millisecond {
		t.Errorf("1.5 ms are %v, want them cut to 1 ms as in Resilience4j", got)
	}
}

func TestJitterMakesWaitsShorterOrLongerByItsShare(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jitter := rapid.Float64Range(0, 1).Draw(rt, "jitter")
		first := rapid.IntRange(1, 100_000).Draw(rt, "ms")
		w := openWait{
			first: time.Duration(first) * time.Millisecond, multiplier: 1, jitter: jitter,
			random: func() float64 { return rapid.Float64Range(0, 0.999999).Draw(rt, "random") },
		}
		got := float64(w.wait(1).Milliseconds())
		if least, most := float64(first)*(1-jitter)-1, float64(first)*(1+jitter)+1; got < max(1, least) || got > most {
			rt.Fatalf("%v ms, want %v to %v", got, least, most)
		}
	})
	w := openWait{first: time.Minute, multiplier: 1, jitter: 0.5, random: rand.Float64}
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		least, most = min(least, w.wait(1)), max(most, w.wait(1))
	}
	if least > 32*time.Second || most < 88*time.Second {
		t.Errorf("1000 waits of a minute with half of it as jitter are between %v and %v", least, most)
	}
	w = openWait{first: time.Minute, multiplier: 2, most: time.Minute, jitter: 1, random: func() float64 { return 0.99 }}
	if got := w.wait(3); got != time.Minute {
		t.Errorf("jitter led over open_max: %v", got)
	}
}
