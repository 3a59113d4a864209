package retry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// hand is a clock that is turned by hand.
type hand struct {
	stage.Clock
	at time.Time
}

func (h *hand) Now() time.Time { return h.at }

func TestTheBudgetIsAShareOfTheCalls(t *testing.T) {
	for _, c := range []struct {
		share   string
		floor   stage.Rate
		calls   int
		retries int
	}{
		{"20%", 0, 100, 20},
		{"20%", 0, 104, 20},
		{"20%", 0, 105, 21},
		{"29%", 0, 100, 29}, // 0.29*100 is a little less in floating point
		{"7%", 0, 100, 7},
		{"0.1%", 0, 1000, 1},
		{"100%", 0, 3, 3},
		{"20%", 0, 0, 0},
		{"20%", 1, 0, 10},
		{"20%", 0.3, 100, 23},
	} {
		var share stage.Percent
		if err := share.UnmarshalText([]byte(c.share)); err != nil {
			t.Fatal(err)
		}
		b := newBudget(&hand{at: time.Unix(1, 0)}, share, c.floor)
		for range c.calls {
			b.call()
		}
		got := 0
		for b.retry() {
			got++
		}
		if got != c.retries {
			t.Errorf("%s of %d calls and %v: %d retries, want %d", c.share, c.calls, c.floor, got, c.retries)
		}
	}
}

// The model remembers everything and counts anew.
func TestTheBudgetLooksTenSecondsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(1, 100).Draw(t, "percent")
		floor := rapid.IntRange(0, 3).Draw(t, "floor")
		clock := &hand{at: time.Unix(1, 0)}
		start := clock.at
		b := newBudget(clock, stage.Percent(percent)/100, stage.Rate(floor))
		var calls, retries []int // the seconds in which they were
		second := func() int { return int(clock.at.Sub(start) / time.Second) }
		recent := func(list []int) (n int) {
			for _, s := range list {
				if s > second()-10 {
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				clock.at = clock.at.Add(time.Duration(rapid.IntRange(0, 12_000).Draw(t, "ms")) * time.Millisecond)
			},
			"calls": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					b.call()
					calls = append(calls, second())
				}
			},
			"retry": func(t *rapid.T) {
				want := (recent(retries)+1)*100 <= recent(calls)*percent+floor*10*100
				if got := b.retry(); got != want {
					t.Fatalf("after %d calls and %d retries: %v, want %v", recent(calls), recent(retries), got, want)
				}
				if want {
					retries = append(retries, second())
				}
			},
		})
	})
}

func TestInAnOutageRetriesStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.Budget, c.BudgetFloor = new(stage.Percent(0.2)), 0 }, away)
		const batches = 100
		for range batches {
			if err := r.run(t.Context(), batchOf(1)); stage.ClassOf(err) != stage.Retryable {
				t.Fatal(err)
			}
		}
		if n := len(r.tries) - batches; n != 20 {
			t.Errorf("%d retries of %d batches, want 20", n, batches)
		}
		if got := testutil.ToFloat64(r.ended.WithLabelValues("budget")); got != batches {
			t.Errorf("%v batches were ended by the budget", got)
		}
	})
}

func TestEventsAreNotPoisonedBecauseTheBudgetIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) {
			c.Budget, c.BudgetFloor, c.OnExhausted = new(stage.Percent(0.01)), 0, "poison"
		}, away)
		b := batchOf(2)
		if err := r.run(t.Context(), b); stage.ClassOf(err) != stage.Retryable || b.Count(event.Open) != 2 || len(r.tries) != 1 {
			t.Errorf("got %v after %d tries with %d events open", err, len(r.tries), b.Count(event.Open))
		}
	})
}
