package generator

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/load"
)

func TestDifferentOnesAreCountedWithinAFewPercent(t *testing.T) {
	for _, n := range []uint64{0, 1, 10, 1000, 5000, 20_000, 200_000} {
		var d distinct
		for i := range n {
			d.add(mix(i*golden + 7))
			d.add(mix(i*golden + 7)) // again
		}
		if got := float64(d.count()); math.Abs(got-float64(n)) > 0.08*float64(n) {
			t.Errorf("counted %.0f different ones of %d", got, n)
		}
	}
}

func TestStatusTellsSessionsAndCompression(t *testing.T) {
	for _, threads := range []int{1, 8} {
		ids := map[string]bool{}
		r := open(t, config(func(c *Config) { c.Rate, c.Count, c.Threads = Max, 20_000, threads }))
		for _, e := range readAll(t, context.Background(), r) {
			ids[e.CorrelationID] = true
		}
		status := r.Status()
		if got, want := float64(status["distinct_keys"].(int64)), float64(len(ids)); math.Abs(got-want) > 0.08*want {
			t.Errorf("shows %v different keys, there are %v", got, want)
		}
		if ratio := status["compression"].(float64); ratio < 1.5 || ratio > 10 {
			t.Errorf("shows a compression of %v", ratio)
		}
	}
	r := open(t, config(func(c *Config) { c.Count = 1 }))
	if status := r.Status(); status["distinct_keys"] != int64(0) || status["compression"] != nil || status["dispersion"] != nil {
		t.Errorf("before its first event it shows %v", status)
	}
}

func TestContentThatRepeatsItselfCompressesBetter(t *testing.T) {
	ratio := func(c Content) float64 {
		r := open(t, config(func(cfg *Config) { cfg.Rate, cfg.Count, cfg.Content = Max, 2000, c }))
		readAll(t, context.Background(), r)
		return r.Status()["compression"].(float64)
	}
	random := ratio(Content{Template: "none", Sources: []string{"s"}, Messages: []Message{{Text: "{x}"}}, Fields: map[string]Field{"x": {Hex: 64}}})
	same := ratio(Content{Template: "none", Sources: []string{"s"}, Messages: []Message{{Text: "always the same words and no others, again and again"}}})
	if same < 1.5*random {
		t.Errorf("%v for the same words, %v for random digits", same, random)
	}
}

func TestDispersionTellsEvenFromBursty(t *testing.T) {
	dispersion := func(arrivals load.Arrivals) float64 {
		got := 0.0
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 61*time.Second)
			defer cancel()
			rate := load.Rate(100)
			r := open(t, config(func(c *Config) {
				c.Load = load.Profile{Phases: []load.Phase{{Shape: load.Shape{Constant: &rate}}}, Arrivals: arrivals}
			}))
			for {
				p, err := r.Read(ctx)
				if err != nil {
					break
				}
				p.Done(event.Receipt{})
			}
			got = r.Status()["dispersion"].(float64)
		})
		return got
	}
	if even := dispersion(load.Arrivals{}); even > 0.1 {
		t.Errorf("%v for an even rate, want 0", even)
	}
	if random := dispersion(load.Arrivals{Gamma: &load.Gamma{CV: 3}}); random < 3 || random > 27 {
		t.Errorf("%v for gamma arrivals with a cv of 3, want about 9", random)
	}
}
