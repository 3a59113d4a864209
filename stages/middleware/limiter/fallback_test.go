package limiter

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func fallback(limit int, to string) func() *Config {
	return func() *Config {
		return config(func(c *Config) { c.Rate, c.Fallback = stage.Rate(limit), to })
	}
}

func (i *instance) mode() string { return i.Status()["mode"].(string) }

func TestWhileRedisIsAwayEachInstanceCountsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 4000
		f := newFleet(t, 4, fallback(limit, fallbackLocal))
		f.flood(2, 20)
		time.Sleep(3 * time.Second)
		f.server.stop()
		time.Sleep(4 * time.Second)
		for _, i := range f.all {
			if i.mode() != "local" || i.Status()["instances"] != 4 || i.Status()["limit"] != limit/4*9/10 {
				t.Errorf("while Redis is away: %v", i.Status())
			}
			if testutil.ToFloat64(i.metrics.mode.WithLabelValues("local")) != 1 || testutil.ToFloat64(i.metrics.mode.WithLabelValues("redis")) != 0 {
				t.Error("the mode's gauges do not show it")
			}
		}
		f.server.start()
		time.Sleep(7 * time.Second) // probes come at random times, and for 2 s the old share holds too
		for _, i := range f.all {
			if i.mode() != "redis" || i.Status()["limit"] != limit {
				t.Errorf("when Redis is back: %v", i.Status())
			}
			if lines := i.log.String(); strings.Count(lines, "\n") != 2 || !strings.Contains(lines, "Redis is away: this process counts its share") ||
				!strings.Contains(lines, "connection refused") || !strings.Contains(lines, "Redis is back") {
				t.Errorf("log:\n%s", lines)
			}
			if testutil.ToFloat64(i.metrics.calls.WithLabelValues("failed")) < 3 {
				t.Error("failed calls are not counted")
			}
		}
		f.end()
		// All wanted the same. What passes around the changes over the limit is
		// what an instance was behind its share then.
		if most := f.sink.log.mostIn(time.Second); most > limit*105/100 {
			t.Errorf("%d events in one second, limit %d", most, limit)
		}
		for _, span := range [][2]time.Duration{{0, 3 * time.Second}, {4500 * time.Millisecond, 7 * time.Second}, {9500 * time.Millisecond, time.Hour}} {
			var log naive
			for _, g := range f.sink.log {
				if g.at >= span[0] && g.at < span[1] {
					log.add(g.at, g.weight)
				}
			}
			if most := log.mostIn(time.Second); most > limit || most == 0 {
				t.Errorf("%d events in one second between %v and %v, limit %d", most, span[0], span[1], limit)
			}
		}
		if got := f.sink.log.between(5*time.Second, 7*time.Second); got < 2*limit*89/100 {
			t.Errorf("%d events in two seconds without Redis, want 90%% of %d", got, 2*limit)
		}
		if got := f.sink.log.between(12*time.Second, 14*time.Second); got < 2*limit*80/100 {
			// How soon all of it is used again is for chance, and for the test of a
			// fleet that nothing happens to.
			t.Errorf("%d events in two seconds when Redis was back, limit %d", got, 2*limit)
		}
	})
}

func TestRedisThatComesBackEmptyIsToldWhatWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		f := newFleet(t, 1, sharedWindow(limit, 4*time.Second))
		in := f.all[0]
		h := in.Wrap(f.sink.handle)
		if err := run(t.Context(), h, batchOf(900)); err != nil {
			t.Fatal(err)
		}
		f.server.wipe() // so quickly that nobody noticed
		b := batchOf(300)
		if err := run(t.Context(), h, b); err != nil {
			t.Fatal(err)
		}
		f.end()
		if most := f.sink.log.mostIn(4 * time.Second); most > limit {
			t.Errorf("%d events in one window, limit %d", most, limit)
		}
		if in.log.Len() > 0 {
			t.Errorf("log: %s", in.log)
		}
	})
}

func TestEventsWaitUntilRedisIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, fallback(1000, fallbackWait))
		f.server.stop()
		h := f.all[0].Wrap(f.sink.handle)
		done := make(chan error, 1)
		go func() { done <- run(context.Background(), h, batchOf(10)) }()
		time.Sleep(5 * time.Second)
		if f.all[0].mode() != "waiting" || f.all[0].Status()["waiting"] != 10 || len(f.sink.log) != 0 {
			t.Errorf("%v, %d passed", f.all[0].Status(), len(f.sink.log))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b := batchOf(5)
		if err := run(ctx, h, b); err == nil || b.Count(event.Open) != 5 {
			t.Errorf("a stop while waiting: %v, %d open", err, b.Count(event.Open))
		}
		f.server.start()
		if err := <-done; err != nil || f.all[0].mode() != "redis" {
			t.Errorf("%v, %v", err, f.all[0].Status())
		}
		f.end()
	})
}

func TestEventsPassWithoutALimitIfThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, fallback(10, fallbackOpen))
		f.server.stop()
		if err := run(t.Context(), f.all[0].Wrap(f.sink.handle), batchOf(1000)); err != nil {
			t.Fatal(err)
		}
		if f.all[0].mode() != "open" || f.sink.log.before(time.Second) != 1000 {
			t.Errorf("%v, %v", f.all[0].Status(), f.sink.log)
		}
		f.end()
	})
}

func TestAFailedCallIsNoReasonToTurnEventsAway(t *testing.T) {
	for _, on := range []string{onLimitReject, onLimitShed, onLimitPoison} {
		t.Run(on, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1, func() *Config {
					return config(func(c *Config) { c.Rate, c.OnLimit, c.Fallback = 100, on, fallbackWait })
				})
				f.server.stop()
				b := batchOf(10)
				done := make(chan error, 1)
				go func() { done <- run(context.Background(), f.all[0].Wrap(f.sink.handle), b) }()
				time.Sleep(5 * time.Second)
				f.server.start()
				if err := <-done; err != nil || b.Count(event.Delivered) != 10 {
					t.Errorf("%v, %d of 10 delivered, %v", err, b.Count(event.Delivered), b.Err(0))
				}
				f.end()
			})
		})
	}
}

func TestARedisThatIsTooSlowIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, fallback(1000, fallbackLocal))
		f.server.latency = 40 * time.Millisecond // there and back: more than permits are good for
		if err := run(t.Context(), f.all[0].Wrap(f.sink.handle), batchOf(10)); err != nil {
			t.Fatal(err)
		}
		if f.all[0].mode() != "local" || f.sink.log[0].at > 2*time.Second {
			t.Errorf("%v, passed at %v", f.all[0].Status(), f.sink.log[0].at)
		}
		f.end()
	})
}

func TestAWrongPasswordParksARouteThatWouldWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, fallback(1000, fallbackWait))
		f.server.redis.RequireAuth("secret")
		err := run(t.Context(), f.all[0].Wrap(f.sink.handle), batchOf(10))
		if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "check user and password") {
			t.Errorf("%v, class %v", err, stage.ClassOf(err))
		}
		f.end()
	})
}

func TestRejectingAsksRedisBeforeItSaysNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, func() *Config {
			return config(func(c *Config) { c.Rate, c.OnLimit = 100, onLimitReject })
		})
		f.server.latency = time.Millisecond
		got := 0
		for i, n := range []int{60, 60} {
			b := batchOf(n)
			if err := run(t.Context(), f.all[i].Wrap(f.sink.handle), b); err != nil {
				t.Fatal(err)
			}
			got += b.Count(event.Delivered)
			time.Sleep(100 * time.Millisecond) // in which what the first fetched ahead comes back
			if i == 1 && (b.Count(event.Rejected) != 20 || stage.RetryAfter(b.Err(59)) <= 0) {
				t.Errorf("%d rejected, told to come back after %v", b.Count(event.Rejected), stage.RetryAfter(b.Err(59)))
			}
		}
		if got != 100 {
			t.Errorf("%d of 120 passed at once, limit 100", got)
		}
		calls := f.all[1].calls()
		for range 100 { // a source that does not listen must not become Redis' problem
			if err := run(t.Context(), f.all[1].Wrap(f.sink.handle), batchOf(10)); err != nil {
				t.Fatal(err)
			}
		}
		if more := f.all[1].calls() - calls; more > 2 {
			t.Errorf("%v calls for 100 batches that had to be rejected", more)
		}
		f.end()
	})
}
