package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var errAway = errors.New("dial tcp: connection refused")

// rig is a retry around a sink that answers as a test says.
type rig struct {
	*retry
	handler message.HandlerFunc
	answer  func(try int, b *event.Batch) error
	start   time.Time
	tries   []time.Duration
}

func build(t testing.TB, change func(*Config), answer func(try int, b *event.Batch) error) *rig {
	t.Helper()
	c := Stage.New().(*Config)
	change(c)
	var p stage.Problems
	c.Validate(&p)
	for _, found := range p.Found {
		if !found.Warning {
			t.Fatalf("problem: %+v", found)
		}
	}
	w, err := c.Open(context.Background(), stage.Settings{
		Name: "retry", Step: 1, Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{retry: w.(*retry), answer: answer, start: time.Now()}
	r.handler = w.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		r.tries = append(r.tries, time.Since(r.start))
		b := stage.BatchOf(msg)
		return nil, stage.Result(b, r.answer(len(r.tries), b))
	})
	return r
}

func (r *rig) run(ctx context.Context, b *event.Batch) error {
	_, err := r.handler(stage.Message(ctx, b))
	return err
}

func asIs(*Config) {}

// away is a sink that cannot be reached.
func away(_ int, b *event.Batch) error {
	b.FailOpen(errAway)
	return errAway
}

func batchOf(n int) *event.Batch { return event.NewBatch(make([]event.Event, n)) }

func ms(n ...int) (d []time.Duration) {
	for _, n := range n {
		d = append(d, time.Duration(n)*time.Millisecond)
	}
	return d
}

func TestPausesAreTheConfiguredOnes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []time.Duration
	}{
		{"default: 100, 200, 400 ms", asIs, ms(0, 100, 300, 700)},
		{"1, 2, 4 s", func(c *Config) { c.InitialInterval = stage.Duration(time.Second) }, ms(0, 1000, 3000, 7000)},
		{"capped", func(c *Config) { c.MaxRetries, c.MaxInterval = 5, stage.Duration(300*time.Millisecond) }, ms(0, 100, 300, 600, 900, 1200)},
		{"constant", func(c *Config) { c.Multiplier = 1 }, ms(0, 100, 200, 300)},
		{"fractions", func(c *Config) { c.Multiplier = 1.5 }, ms(0, 100, 250, 475)},
		{"none", func(c *Config) { c.MaxRetries = 0 }, ms(0)},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := build(t, c.change, away)
			b := batchOf(3)
			if err := r.run(t.Context(), b); !errors.Is(err, errAway) || stage.ClassOf(err) != stage.Retryable {
				t.Errorf("%s: got %v, want the sink's error", c.name, err)
			}
			if !slices.Equal(r.tries, c.want) {
				t.Errorf("%s: tried at %v, want %v", c.name, r.tries, c.want)
			}
			if b.Count(event.Open) != 3 {
				t.Errorf("%s: %d events kept, want all 3", c.name, b.Count(event.Open))
			}
			if got := testutil.ToFloat64(r.attempts); got != float64(len(c.want)-1) {
				t.Errorf("%s: %v retries counted, want %d", c.name, got, len(c.want)-1)
			}
		})
	}
}

func TestOnlyOpenEventsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []int
		r := build(t, asIs, func(try int, b *event.Batch) error {
			seen = append(seen, b.Count(event.Open))
			for row := range b.Open() {
				switch {
				case row < 4*try: // four more each time
					b.Settle(row, event.Delivered)
				case row == 9:
					b.Refuse(row, stage.Bad(errors.New("no such level")))
				default:
					b.Fail(row, errAway)
				}
			}
			return b.FirstErr(event.Open)
		})
		b := batchOf(10)
		err := r.run(t.Context(), b)
		var refused *stage.RefusedError
		if !errors.As(err, &refused) || refused.Events != 1 {
			t.Errorf("got %v, want one bad event", err)
		}
		if !slices.Equal(seen, []int{10, 5, 1}) {
			t.Errorf("the sink saw %v events", seen)
		}
		if b.Count(event.Delivered) != 9 {
			t.Errorf("%d delivered, want 9", b.Count(event.Delivered))
		}
	})
}

func TestADestinationSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := []time.Duration{30 * time.Second, time.Millisecond, time.Minute}
		r := build(t, asIs, func(try int, b *event.Batch) error {
			if try > len(after) {
				b.SettleOpen(event.Delivered)
				return nil
			}
			err := fmt.Errorf("write: %w", stage.Throttled(errAway, after[try-1]))
			b.FailOpen(err)
			return err
		})
		if err := r.run(t.Context(), batchOf(1)); err != nil {
			t.Fatal(err)
		}
		if want := ms(0, 30_000, 30_200, 90_200); !slices.Equal(r.tries, want) {
			t.Errorf("tried at %v, want %v", r.tries, want)
		}
	})
}

func TestSomeErrorsAreNotTriedAgain(t *testing.T) {
	for _, err := range []error{
		stage.Fatal(errors.New("wrong password")),
		fmt.Errorf("write: %w", context.Canceled),
		stage.Bad(errors.New("no such level")),
	} {
		synctest.Test(t, func(t *testing.T) {
			r := build(t, asIs, func(_ int, b *event.Batch) error {
				if stage.ClassOf(err) == stage.BadEvent {
					for row := range b.Open() {
						b.Refuse(row, err)
					}
				}
				return err
			})
			got := r.run(t.Context(), batchOf(2))
			if !errors.Is(got, err) && stage.ClassOf(got) != stage.ClassOf(err) {
				t.Errorf("got %v, want %v", got, err)
			}
			if len(r.tries) != 1 {
				t.Errorf("%v was tried %d times", err, len(r.tries))
			}
		})
	}
}

func TestAPauseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) {
			c.InitialInterval, c.MaxInterval = stage.Duration(time.Hour), stage.Duration(time.Hour)
		}, away)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		b := batchOf(2)
		err := r.run(ctx, b)
		if stage.ClassOf(err) != stage.Stopped || time.Since(r.start) != time.Second {
			t.Errorf("got %v after %v, want to stop after 1s", err, time.Since(r.start))
		}
		if len(r.tries) != 1 || b.Count(event.Open) != 2 {
			t.Errorf("%d tries, %d open", len(r.tries), b.Count(event.Open))
		}
	})
}

func TestPoisonWhenAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnExhausted = "poison" }, func(_ int, b *event.Batch) error {
			for row := range b.Open() {
				if row == 0 {
					b.Settle(row, event.Delivered)
				} else {
					b.Fail(row, stage.Throttled(fmt.Errorf("row %d: %w", row, errAway), time.Millisecond))
				}
			}
			return b.FirstErr(event.Open)
		})
		b := batchOf(3)
		err := r.run(t.Context(), b)
		var refused *stage.RefusedError
		if stage.ClassOf(err) != stage.BadEvent || !errors.As(err, &refused) || refused.Events != 2 {
			t.Errorf("got %v (%v), want two bad events", err, stage.ClassOf(err))
		}
		if why := b.Err(2); why == nil || why.Error() != "not delivered in 4 attempts: row 2: dial tcp: connection refused" {
			t.Errorf("reason: %v", why)
		}
		if class := stage.ClassOf(b.Err(2)); class != stage.BadEvent {
			t.Errorf("the event's own error is %v", class)
		}
		if b.Count(event.Delivered) != 1 || b.Count(event.Refused) != 2 {
			t.Errorf("%d delivered, %d refused", b.Count(event.Delivered), b.Count(event.Refused))
		}
	})
}

func TestAnEventForARouteThatHasEndedIsNotPoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnExhausted = "poison" }, func(_ int, b *event.Batch) error {
			b.Fail(0, context.Canceled) // as such a route says it
			b.Fail(1, errAway)
			return errAway
		})
		b := batchOf(2)
		if err := r.run(t.Context(), b); stage.ClassOf(err) != stage.Stopped || b.Outcome(0) != event.Open || b.Outcome(1) != event.Refused {
			t.Errorf("got %v, %v and %v", err, b.Outcome(0), b.Outcome(1))
		}
	})
}

func TestStopIsNotPoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnExhausted = "poison" }, away)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		b := batchOf(2)
		if err := r.run(ctx, b); err == nil || b.Count(event.Open) != 2 {
			t.Errorf("got %v with %d open, want both events back", err, b.Count(event.Open))
		}
	})
}

func TestJitterStaysWithinItsShare(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jitter := rapid.Float64Range(0, 1).Draw(rt, "jitter")
		initial := time.Duration(rapid.IntRange(1, 5000).Draw(rt, "initial")) * time.Millisecond
		multiplier := rapid.Float64Range(1, 10).Draw(rt, "multiplier")
		longest := initial + time.Duration(rapid.IntRange(0, 60_000).Draw(rt, "more"))*time.Millisecond
		r := retry{Config: Config{
			InitialInterval: stage.Duration(initial), MaxInterval: stage.Duration(longest),
			Multiplier: multiplier, Jitter: stage.Percent(jitter),
		}}
		exact := float64(initial)
		for n := 1; n <= 12; n++ {
			whole := time.Duration(min(exact, float64(longest)))
			if got := r.pause(n); got != whole {
				rt.Fatalf("pause %d is %v, want %v", n, got, whole)
			}
			if got, least := r.delay(n, errAway), time.Duration((1-jitter)*float64(whole))-1; got < least || got > whole {
				rt.Fatalf("delay %d is %v, want %v to %v", n, got, least, whole)
			}
			exact *= multiplier
		}
	})
}

func TestJitterSpreadsThePauses(t *testing.T) {
	r := retry{Config: *Stage.New().(*Config)}
	r.Jitter = 1
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := r.delay(1, errAway)
		least, most = min(least, d), max(most, d)
	}
	if least > 10*time.Millisecond || most < 90*time.Millisecond {
		t.Errorf("1000 pauses of 100ms with full jitter are between %v and %v", least, most)
	}
}

func TestSettingsThatCannotWorkAreReported(t *testing.T) {
	for _, c := range []struct {
		change    func(*Config)
		key, text string
		warning   bool
	}{
		{func(c *Config) { c.MaxRetries = -1 }, "max_retries", "must be at least 0, got -1", false},
		{func(c *Config) { c.MaxRetries = 0 }, "max_retries", "nothing is ever tried again", true},
		{func(c *Config) { c.InitialInterval = 0 }, "initial_interval", "must be above 0, got 0s", false},
		{func(c *Config) { c.MaxInterval = stage.Duration(time.Millisecond) }, "max_interval", "must be at least initial_interval (100ms), got 1ms", false},
		{func(c *Config) { c.Multiplier = 0.5 }, "multiplier", "must be at least 1 and at most 1000, got 0.5", false},
		{func(c *Config) { c.Jitter = 1.2 }, "jitter", "must be at least 0% and at most 100%, got 120%", false},
		{func(c *Config) { c.Timeout = -1 }, "timeout", "must be above 0, or 0s for none, got -1ns", false},
		{func(c *Config) { c.MaxElapsed = -1 }, "max_elapsed", "must be above 0, or 0s for none", false},
		{func(c *Config) { c.MaxElapsed = stage.Duration(50 * time.Millisecond) }, "max_elapsed", "must be at least initial_interval (100ms), or nothing is ever tried again, got 50ms", false},
		{func(c *Config) { c.MaxElapsed, c.Timeout = stage.Duration(time.Second), stage.Duration(2*time.Second) }, "max_elapsed", "is over when a first try takes its whole timeout (2s)", true},
		{func(c *Config) { c.Budget = new(stage.Percent) }, "budget", "must be above 0% and at most 100%, or be left out, got 0%", false},
		{func(c *Config) { c.Budget = new(stage.Percent(1.5)) }, "budget", "got 150%", false},
		{func(c *Config) { c.Budget, c.BudgetFloor = new(stage.Percent(0.5)), -1 }, "budget_floor", "must be at least 0/s", false},
		{func(c *Config) { c.BudgetFloor = 5 }, "budget_floor", "needs budget, the share of batches that may be retries, got only 5/s", false},
		{func(c *Config) { c.OnExhausted = "drop" }, "on_exhausted", `got "drop"`, false},
		{func(c *Config) { c.OnExhausted = "poison" }, "on_exhausted", "away for longer than 700ms", true},
	} {
		conf := Stage.New().(*Config)
		c.change(conf)
		var p stage.Problems
		conf.Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.Contains(p.Found[0].Text, c.text) || p.Found[0].Warning != c.warning {
			t.Errorf("got %+v, want %s: %s", p.Found, c.key, c.text)
		}
	}
}

func TestSpanOfVeryManyRetries(t *testing.T) {
	c := Stage.New().(*Config)
	c.MaxRetries = 1_000_000
	if got, want := c.span(), 10*time.Second*(1_000_000-7)+12_700*time.Millisecond; got != want {
		t.Errorf("a million retries take %v, want %v", got, want)
	}
}

func TestABatchThatGoesWellAllocatesNothing(t *testing.T) {
	r := build(t, asIs, nil)
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

func deliver(msg *message.Message) ([]*message.Message, error) {
	stage.BatchOf(msg).SettleOpen(event.Delivered)
	return nil, nil
}

// BenchmarkBatch is a batch that goes well, beside one without a retry.
func BenchmarkBatch(b *testing.B) {
	r := build(b, asIs, nil)
	for name, h := range map[string]message.HandlerFunc{"retry": r.Wrap(deliver), "without": deliver} {
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
