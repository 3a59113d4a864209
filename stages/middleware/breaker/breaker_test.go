package breaker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/stages/internal/circuit"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// day2Config is 50 % of the last 10, at least 5, open 5s, 3 trials.
func day2Config(change func(*Config)) *Config {
	c := Stage.New().(*Config)
	c.Window, c.MinCalls, c.OpenFor, c.HalfOpenCalls = circuit.Window{Calls: 10}, new(5), stage.Duration(5*time.Second), 3
	change(c)
	return c
}

// rig is a breaker around a sink whose weather a test makes.
type rig struct {
	*breaker
	handler message.HandlerFunc
	logs    bytes.Buffer
	reg     *prometheus.Registry
	mounted map[string]http.Handler
	shared  *circuit.Breaker

	mu      sync.Mutex
	err     error
	took    time.Duration
	calls   int
	running int
}

var errAway = errors.New("dial tcp: connection refused")

func build(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	c := day2Config(change)
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	r := &rig{reg: prometheus.NewRegistry(), mounted: map[string]http.Handler{}}
	w, err := c.Open(context.Background(), r.settings("orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	r.breaker = w.(*breaker)
	r.handler = w.Wrap(r.sink)
	return r
}

func (r *rig) settings(route string) stage.Settings {
	return stage.Settings{
		Pipeline: "shop", Route: route, Name: "breaker", Step: 2, Clock: stage.SystemClock, Metrics: r.reg,
		Log: slog.New(slog.NewTextHandler(&r.logs, nil)),
		Mount: func(path string, h http.Handler) error {
			r.mounted[path] = h
			return nil
		},
		Resource: func(name string) (any, error) {
			if name == "orders-db" && r.shared != nil {
				return r.shared, nil
			}
			return nil, errors.New("no such resource is open: " + name)
		},
		Outlet: func(stage.Outlet) message.HandlerFunc { return nil },
	}
}

func (r *rig) sink(msg *message.Message) ([]*message.Message, error) {
	r.mu.Lock()
	r.calls++
	r.running++
	err, took := r.err, r.took
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running--
		r.mu.Unlock()
	}()

	time.Sleep(took)
	b := stage.BatchOf(msg)
	switch stage.ClassOf(err) {
	case stage.OK:
		b.SettleOpen(event.Delivered)
	case stage.BadEvent:
		for row := range b.Open() {
			b.Refuse(row, err)
		}
	default:
		b.FailOpen(err)
	}
	return nil, stage.Result(b, err)
}

// seen is how often the sink was called, and how many calls run now.
func (r *rig) seen() (calls, running int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls, r.running
}

func (r *rig) weather(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *rig) attempt(ctx context.Context) error {
	_, err := r.handler(stage.Message(ctx, event.NewBatch(make([]event.Event, 3))))
	return err
}

// fail makes n attempts in bad weather.
func (r *rig) fail(t *testing.T, n int) {
	t.Helper()
	r.weather(errAway)
	for range n {
		if err := r.attempt(t.Context()); !errors.Is(err, errAway) {
			t.Fatalf("got %v", err)
		}
	}
}

func (r *rig) is(t *testing.T, want string) {
	t.Helper()
	if got := r.Status()["state"]; got != want {
		t.Fatalf("the breaker is %v, want %v", got, want)
	}
}

func TestOpenBreakerMakesBatchesWaitUntilItMayTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.fail(t, 5)
		r.is(t, "open")
		r.weather(nil)
		began := time.Now()
		for range 4 {
			if err := r.attempt(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != 5*time.Second+1 {
			t.Errorf("waited %v, want open_for", waited)
		}
		r.is(t, "closed")
		if n := r.Status()["not_permitted"]; n != uint64(1) {
			t.Errorf("%v not permitted, want the one that waited", n)
		}
	})
}

func TestHalfOpenLetsItsTrialsThroughAndTheOthersAfterTheVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.fail(t, 5)
		r.weather(nil)
		r.took = time.Second
		before, began := r.calls, time.Now() // nothing runs yet
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := r.attempt(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		if calls, running := r.seen(); calls-before != 3 || running != 3 {
			t.Errorf("%d trials went through, want 3", calls-before)
		}
		r.is(t, "half_open")
		wg.Wait()
		if took := time.Since(began); took != 7*time.Second+1 {
			t.Errorf("8 batches took %v, want 5s of waiting, 1s of trials, 1s for the rest", took)
		}
		r.is(t, "closed")
	})
}

func TestFailedTrialsKeepTheOthersWaitingForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.HalfOpenCalls = 1 })
		r.fail(t, 5)
		began := time.Now()
		results := make(chan error, 3)
		for range 3 {
			go func() { results <- r.attempt(t.Context()) }()
		}
		for i := range 3 {
			if err := <-results; !errors.Is(err, errAway) {
				t.Error(err)
			}
			if at, want := time.Since(began), time.Duration(i+1)*(5*time.Second+1); at != want {
				t.Errorf("trial %d failed after %v, want %v", i+1, at, want)
			}
		}
		if r.calls != 5+3 {
			t.Errorf("%d calls of a sink that is away, want 5 and 3 trials", r.calls)
		}
	})
}

func TestABatchThatIsToldToStopMakesRoomForAnotherTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.HalfOpenCalls = 1 })
		r.fail(t, 5)
		r.weather(nil)
		r.took = time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		h := r.Wrap(func(msg *message.Message) ([]*message.Message, error) {
			<-msg.Context().Done()
			return nil, errors.New("write: broken pipe") // what clients say when stopped
		})
		stopped := make(chan error, 1)
		go func() {
			_, err := h(stage.Message(ctx, event.NewBatch(make([]event.Event, 1))))
			stopped <- err
		}()
		time.Sleep(6 * time.Second)
		r.is(t, "half_open")
		r.took = 0
		next := make(chan error, 1)
		go func() { next <- r.attempt(t.Context()) }()
		synctest.Wait()
		if len(next) > 0 {
			t.Fatal("a second trial went through")
		}
		began := time.Now()
		cancel()
		<-stopped
		if err := <-next; err != nil || time.Since(began) != 0 {
			t.Errorf("the next trial: %v after %v", err, time.Since(began))
		}
		r.is(t, "closed")
	})
}

func TestWaitingEndsWithTheBatchsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.fail(t, 5)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- r.attempt(ctx) }()
		time.Sleep(time.Second)
		began := time.Now()
		cancel()
		if err := <-result; stage.ClassOf(err) != stage.Stopped || time.Since(began) != 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		// Forced open, time alone does not help: only the context does.
		if err := r.circuit.Change(circuit.ForcedOpen); err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.attempt(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWaitingBatchesAreWokenByAChangeOfState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.fail(t, 5)
		r.weather(nil)
		began := time.Now()
		result := make(chan error, 1)
		go func() { result <- r.attempt(t.Context()) }()
		time.Sleep(time.Second)
		r.circuit.Reset()
		if err := <-result; err != nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want to pass when it is closed by hand", err, time.Since(began))
		}
	})
}

func TestOnOpenFailSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnOpen = OnOpen{word: "fail"} })
		r.fail(t, 5)
		time.Sleep(2 * time.Second)
		calls := r.calls
		err := r.attempt(t.Context())
		if !errors.Is(err, circuit.ErrOpen) || stage.ClassOf(err) != stage.Retryable || stage.RetryAfter(err) != 3*time.Second+1 {
			t.Errorf("got %v (%v), to be tried again after %v", err, stage.ClassOf(err), stage.RetryAfter(err))
		}
		if r.calls != calls {
			t.Error("the sink was called although the breaker is open")
		}
	})
}

func TestAutomaticTurnsHalfOpenWithoutABatch(t *testing.T) {
	for _, automatic := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := build(t, func(c *Config) { c.Automatic = automatic })
			r.fail(t, 5)
			time.Sleep(5*time.Second - 1)
			r.is(t, "open")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if automatic {
				r.is(t, "half_open")
			} else {
				r.is(t, "open")
			}
		})
	}
}

func TestCloseEndsTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.Automatic = true })
		r.fail(t, 5)
		began := time.Now()
		if err := r.Close(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
