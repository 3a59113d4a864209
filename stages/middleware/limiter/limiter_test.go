package limiter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// config is the defaults with a change.
func config(change func(*Config)) *Config {
	c := Stage.New().(*Config)
	c.Rate = 100
	change(c)
	return c
}

func open(t testing.TB, c *Config) *limiter {
	t.Helper()
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	w, err := c.Open(context.Background(), stage.Settings{
		Name: "limiter", Step: 3, Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.(*limiter)
}

func batchOf(n int) *event.Batch { return event.NewBatch(make([]event.Event, n)) }

// sink delivers everything and keeps a log of what came when.
type sink struct {
	mu    sync.Mutex
	start time.Time
	log   naive
	views []int
	err   error // returned instead of delivering, when set
}

func newSink() *sink { return &sink{start: time.Now()} }

func (s *sink) handle(msg *message.Message) ([]*message.Message, error) {
	b := stage.BatchOf(msg)
	n := b.Count(event.Open)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views = append(s.views, n)
	if s.err != nil {
		b.FailOpen(s.err)
		return nil, stage.Result(b, s.err)
	}
	s.log.add(time.Since(s.start), n)
	b.SettleOpen(event.Delivered)
	return nil, stage.Result(b, nil)
}

func run(ctx context.Context, h message.HandlerFunc, b *event.Batch) error {
	_, err := h(stage.Message(ctx, b))
	return err
}

func TestBadEventsOfABatchThatIsSplitReachAPoisonQueueFurtherIn(t *testing.T) {
	for _, onLimit := range []string{"wait", "shed"} {
		synctest.Test(t, func(t *testing.T) {
			l := open(t, config(func(c *Config) { c.Rate, c.OnLimit = 10, onLimit }))
			defer func() { _ = l.Close(t.Context()) }()
			b := batchOf(25)
			b.Refuse(3, errors.New("no JSON"))
			err := run(t.Context(), l.Wrap(func(msg *message.Message) ([]*message.Message, error) {
				part := stage.BatchOf(msg)
				part.SettleOpen(event.Delivered)
				for row := range part.Refused() {
					part.Settle(row, event.Poisoned)
				}
				return nil, stage.Result(part, nil)
			}), b)
			if err != nil || b.Outcome(3) != event.Poisoned || b.Unsettled() > 0 {
				t.Errorf("%s: the bad event is %v, %d are unsettled (%v)", onLimit, b.Outcome(3), b.Unsettled(), err)
			}
		})
	}
}

func TestBatchIsSplitWhenOnlyPartIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(*Config) {})), newSink()
		b := batchOf(250)
		if err := run(t.Context(), l.Wrap(s.handle), b); err != nil {
			t.Fatal(err)
		}
		want := naive{{0, 100}, {time.Second, 100}, {2 * time.Second, 50}}
		if len(s.log) != 3 || s.log[0] != want[0] || s.log[1] != want[1] || s.log[2] != want[2] {
			t.Errorf("a batch of 250 at 100/s went on as %v, want %v", s.log, want)
		}
		if b.Count(event.Delivered) != 250 {
			t.Errorf("%d delivered", b.Count(event.Delivered))
		}
		if got := testutil.ToFloat64(l.metrics.waited); got != 150 {
			t.Errorf("%v events waited, want 150", got)
		}
		if got := testutil.ToFloat64(l.metrics.waitSeconds); got != 2 {
			t.Errorf("waited %v seconds, want 2", got)
		}
		if got := testutil.ToFloat64(l.metrics.limited); got != 0 {
			t.Errorf("%v events count as limited although they only waited", got)
		}
	})
}

func TestOverTheLimitIsRejectedWithTheTimeToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(c *Config) { c.OnLimit = "reject" })), newSink()
		h := l.Wrap(s.handle)
		if err := run(t.Context(), h, batchOf(60)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Millisecond)
		b := batchOf(50)
		if err := run(t.Context(), h, b); err != nil {
			t.Fatal(err)
		}
		if b.Count(event.Delivered) != 40 || b.Count(event.Rejected) != 10 {
			t.Errorf("%d delivered, %d rejected, want 40 and 10", b.Count(event.Delivered), b.Count(event.Rejected))
		}
		if after := stage.RetryAfter(b.Err(49)); after != 600*time.Millisecond {
			t.Errorf("told to come back after %v, want 600ms", after)
		}
		if !errors.Is(b.Err(49), errLimited) || b.Err(0) != nil {
			t.Errorf("errors: %v, %v", b.Err(49), b.Err(0))
		}
		if got := testutil.ToFloat64(l.metrics.limited); got != 10 {
			t.Errorf("%v limited, want 10", got)
		}
	})
}

func TestOverTheLimitIsShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(func(c *Config) { c.Algorithm, c.Burst, c.OnLimit = "token_bucket", 70, "shed" })
		l, s := open(t, c), newSink()
		b := batchOf(100)
		if err := run(t.Context(), l.Wrap(s.handle), b); err != nil {
			t.Fatal(err)
		}
		if b.Count(event.Delivered) != 70 || b.Count(event.Shed) != 30 {
			t.Errorf("%d delivered, %d shed, want 70 and 30", b.Count(event.Delivered), b.Count(event.Shed))
		}
		if got := l.Status(); got["limit"] != 70 || got["available"] != 0 || got["waiting"] != 0 {
			t.Errorf("status %v", got)
		}
		b = batchOf(5)
		if err := run(t.Context(), l.Wrap(s.handle), b); err != nil || b.Count(event.Shed) != 5 {
			t.Errorf("with nothing left: %v, %d shed of 5", err, b.Count(event.Shed))
		}
	})
}

func TestAnEventIsChargedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(*Config) {})), newSink()
		h := l.Wrap(s.handle)
		b := batchOf(80)
		s.err = errors.New("sink is away")
		for range 5 {
			if err := run(t.Context(), h, b); !errors.Is(err, s.err) {
				t.Fatalf("got %v, want the sink's error", err)
			}
		}
		if free := l.Status()["available"]; free != 20 {
			t.Errorf("%v left of 100 after five attempts at the same 80 events", free)
		}
		s.err = nil
		if err := run(t.Context(), h, b); err != nil || b.Count(event.Delivered) != 80 {
			t.Errorf("%v, %d delivered", err, b.Count(event.Delivered))
		}
	})
}

func TestChargedEventsGoFirstWhenTheChainRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(*Config) {})), newSink()
		h := l.Wrap(s.handle)
		b := batchOf(130)
		s.err = errors.New("sink is away")
		began := time.Now()
		if err := run(t.Context(), h, b); !errors.Is(err, s.err) {
			t.Fatalf("got %v", err)
		}
		if time.Since(began) != 0 || len(s.views) != 1 {
			t.Fatalf("later events overtook failed ones: %v after %v", s.views, time.Since(began))
		}
		s.err = nil
		if err := run(t.Context(), h, b); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) != time.Second || len(s.views) != 3 || s.views[1] != 100 || s.views[2] != 30 {
			t.Errorf("second run sent %v and ended after %v; want the 100 charged ones at once, the 30 after 1s",
				s.views[1:], time.Since(began))
		}
	})
}

func TestBadEventsDoNotStopTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, config(func(*Config) {}))
		h := l.Wrap(func(msg *message.Message) ([]*message.Message, error) {
			b := stage.BatchOf(msg)
			for row := range b.Open() {
				if row%50 == 0 {
					b.Refuse(row, stage.Bad(errors.New("no such level")))
				} else {
					b.Settle(row, event.Delivered)
				}
			}
			return nil, stage.Result(b, nil)
		})
		b := batchOf(201)
		err := run(t.Context(), h, b)
		var refused *stage.RefusedError
		if !errors.As(err, &refused) || refused.Events != 5 || b.Count(event.Delivered) != 196 {
			t.Errorf("got %v with %d delivered; want 5 bad events and 196 delivered", err, b.Count(event.Delivered))
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(*Config) {})), newSink()
		h := l.Wrap(s.handle)
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		batches := []*event.Batch{batchOf(150), batchOf(10)}
		for _, b := range batches {
			go func() { results <- run(ctx, h, b) }()
			synctest.Wait() // the first is at the head of the line, the second behind it
		}
		if w := l.Status()["waiting"]; w != 60 {
			t.Errorf("%v waiting, want 60", w)
		}
		began := time.Now()
		cancel()
		for range 2 {
			if err := <-results; stage.ClassOf(err) != stage.Stopped {
				t.Errorf("got %v, want the context's error", err)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("it took %v to stop", time.Since(began))
		}
		if batches[0].Count(event.Open) != 50 || batches[1].Count(event.Open) != 10 || l.Status()["waiting"] != 0 {
			t.Errorf("open: %d, %d; status %v", batches[0].Count(event.Open), batches[1].Count(event.Open), l.Status())
		}
		time.Sleep(time.Second)
		if err := run(t.Context(), h, batchOf(100)); err != nil {
			t.Errorf("the line is stuck: %v", err)
		}
	})
}

func TestWaitingBatchesGoInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, config(func(*Config) {}))
		var mu sync.Mutex
		var order []string
		h := l.Wrap(func(msg *message.Message) ([]*message.Message, error) {
			b := stage.BatchOf(msg)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, b.Event(0).Message)
			b.SettleOpen(event.Delivered)
			return nil, nil
		})
		var wg sync.WaitGroup
		// "small" would fit at 1s beside nothing else, but "large" came before it.
		for _, b := range []struct {
			name string
			n    int
		}{{"first", 100}, {"large", 90}, {"small", 1}, {"last", 50}} {
			wg.Go(func() {
				batch := batchOf(b.n)
				batch.Event(0).Message = b.name
				if err := run(t.Context(), h, batch); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if got := strings.Join(order, " "); got != "first large small last last" {
			t.Errorf("order %q", got)
		}
	})
}

func TestASmallBatchDoesNotOvertakeALargeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, config(func(c *Config) { c.Algorithm, c.Burst = tokenBucket, 100 }))
		s := newSink()
		h := l.Wrap(s.handle)
		var wg sync.WaitGroup
		for _, n := range []int{100, 50, 10} {
			wg.Go(func() {
				if err := run(t.Context(), h, batchOf(n)); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(100 * time.Millisecond) // the third finds 20 tokens: enough for it, not for the second
		}
		wg.Wait()
		if !slices.Equal(s.views, []int{100, 50, 10}) {
			t.Errorf("batches went on as %v", s.views)
		}
	})
}
