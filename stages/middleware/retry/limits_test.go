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

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

// around is a retry whose sink sees the message's context.
func around(t *testing.T, change func(*Config), sink func(ctx context.Context, b *event.Batch) error) message.HandlerFunc {
	t.Helper()
	c := Stage.New().(*Config)
	change(c)
	w, err := c.Open(t.Context(), stage.Settings{
		Name: "retry", Step: 1, Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		return nil, stage.Result(b, sink(msg.Context(), b))
	})
}

func TestATryThatTakesTooLongIsTriedAgain(t *testing.T) {
	for name, word := range map[string]error{
		"a passed deadline":                  context.DeadlineExceeded,
		"a client's word for being stopped":  fmt.Errorf("read: %w", context.Canceled),
		"a client's word that says nothing":  errors.New("broken pipe"),
		"a client that was told when to try": stage.Throttled(context.Canceled, time.Minute),
	} {
		synctest.Test(t, func(t *testing.T) {
			var tries []time.Duration
			start := time.Now()
			h := around(t, func(c *Config) { c.Timeout = stage.Duration(2 * time.Second) }, func(ctx context.Context, b *event.Batch) error {
				tries = append(tries, time.Since(start))
				if len(tries) == 3 {
					b.SettleOpen(event.Delivered)
					return nil
				}
				<-ctx.Done()
				return word
			})
			msg := stage.Message(t.Context(), batchOf(2))
			if _, err := h(msg); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			want := ms(0, 2100, 4300)
			if stage.RetryAfter(word) > 0 {
				want = ms(0, 62_000, 124_000)
			}
			if !slices.Equal(tries, want) {
				t.Errorf("%s: tried at %v, want %v", name, tries, want)
			}
			if msg.Context().Err() != nil || msg.Context().Done() != stage.Message(t.Context(), batchOf(1)).Context().Done() {
				t.Errorf("%s: the message is left with the context of a try", name)
			}
		})
	}
}

func TestATimeoutSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := around(t, func(c *Config) { c.Timeout = stage.Duration(time.Second) }, func(ctx context.Context, _ *event.Batch) error {
			<-ctx.Done()
			return ctx.Err()
		})
		_, err := h(stage.Message(t.Context(), batchOf(1)))
		if want := "took longer than the timeout of 1s: context deadline exceeded"; err == nil || err.Error() != want || stage.ClassOf(err) != stage.Retryable {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestAStopIsNotTakenForATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		h := around(t, func(c *Config) { c.Timeout = stage.Duration(time.Minute) }, func(ctx context.Context, _ *event.Batch) error {
			tries++
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := h(stage.Message(ctx, batchOf(1)))
		if stage.ClassOf(err) != stage.Stopped || tries != 1 || time.Since(began) != time.Second {
			t.Errorf("got %v after %d tries and %v", err, tries, time.Since(began))
		}
	})
}

func TestWhatNeedsAPersonIsSoInATimeoutToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := around(t, func(c *Config) { c.Timeout = stage.Duration(time.Second) }, func(ctx context.Context, _ *event.Batch) error {
			<-ctx.Done()
			return stage.Fatal(errors.New("wrong password"))
		})
		if _, err := h(stage.Message(t.Context(), batchOf(1))); stage.ClassOf(err) != stage.Unfixable {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoRetryIsLaterThanMaxElapsed(t *testing.T) {
	for _, c := range []struct {
		elapsed time.Duration
		took    time.Duration // by each try
		want    []time.Duration
	}{
		{300 * time.Millisecond, 0, ms(0, 100, 300)}, // the retry at 700 ms would be too late
		{299 * time.Millisecond, 0, ms(0, 100)},
		{time.Second, 200 * time.Millisecond, ms(0, 300, 700)}, // 200 of trying, 100 of pause, 200, 200
		{time.Hour, 0, ms(0, 100, 300, 700)},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := build(t, func(conf *Config) { conf.MaxElapsed = stage.Duration(c.elapsed) }, func(n int, b *event.Batch) error {
				time.Sleep(c.took)
				return away(n, b)
			})
			if err := r.run(t.Context(), batchOf(1)); !errors.Is(err, errAway) {
				t.Errorf("got %v", err)
			}
			if !slices.Equal(r.tries, c.want) {
				t.Errorf("within %v: tried at %v, want %v", c.elapsed, r.tries, c.want)
			}
			limit := "max_elapsed"
			if len(c.want) == 4 {
				limit = "max_retries"
			}
			if got := testutil.ToFloat64(r.ended.WithLabelValues(limit)); got != 1 {
				t.Errorf("within %v: %v batches were ended by %s", c.elapsed, got, limit)
			}
		})
	}
}

func TestAPauseThatADestinationAsksForCanBeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.MaxElapsed = stage.Duration(time.Second) }, func(_ int, b *event.Batch) error {
			b.FailOpen(errAway)
			return stage.Throttled(errAway, time.Minute)
		})
		err := r.run(t.Context(), batchOf(1))
		if stage.RetryAfter(err) != time.Minute || time.Since(r.start) != 0 {
			t.Errorf("got %v (again after %v) after %v", err, stage.RetryAfter(err), time.Since(r.start))
		}
	})
}

func TestWhatAnOpenBreakerRefusedIsNeverPoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnExhausted = "poison" }, func(_ int, b *event.Batch) error {
			err := stage.Throttled(fmt.Errorf("%w (open)", circuit.ErrOpen), time.Second)
			b.FailOpen(err)
			return err
		})
		b := batchOf(2)
		if err := r.run(t.Context(), b); !errors.Is(err, circuit.ErrOpen) || b.Count(event.Open) != 2 {
			t.Errorf("got %v with %d events open, want them kept", err, b.Count(event.Open))
		}
	})
}

func TestThePoisonQueueIsToldThatNothingIsWrongWithTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnExhausted, c.MaxElapsed = "poison", stage.Duration(200*time.Millisecond) }, away)
		b := batchOf(1)
		_ = r.run(t.Context(), b)
		var says interface{ PoisonClass() string }
		if !errors.As(b.Err(0), &says) || says.PoisonClass() != "exhausted" || !errors.Is(b.Err(0), errAway) {
			t.Errorf("the reason is %v", b.Err(0))
		}
		if want := "not delivered in 2 attempts: dial tcp: connection refused"; b.Err(0).Error() != want {
			t.Errorf("the reason is %q, want %q", b.Err(0), want)
		}
	})
}

func TestExplainNamesTheBounds(t *testing.T) {
	c := Stage.New().(*Config)
	c.Budget, c.MaxElapsed, c.OnExhausted = new(stage.Percent(0.2)), stage.Duration(500*time.Millisecond), "poison"
	x := c.Explain()
	if !strings.Contains(x.Does, "within about 500ms") || !strings.Contains(x.Does, "at most 20% of the batches of the last ten seconds, or 1/s") {
		t.Errorf("%q", x.Does)
	}
	if !strings.Contains(x.Away, "3 retries or 500ms") {
		t.Errorf("%q", x.Away)
	}
}
