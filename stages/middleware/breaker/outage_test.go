package breaker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

func TestWhatCountsAsFailure(t *testing.T) {
	var (
		weather  = errAway
		fatal    = stage.Fatal(errors.New("wrong password"))
		badEvent = stage.Bad(errors.New("no such column"))
	)
	usual := func(*Config) {}
	record := func(names ...string) func(*Config) { return func(c *Config) { c.Record = names } }
	ignore := func(names ...string) func(*Config) {
		return func(c *Config) { c.Record, c.Ignore = []string{"retryable"}, names }
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		err    error
		want   circuit.Result
	}{
		{"delivered", usual, nil, circuit.Success},
		{"bad events", usual, badEvent, circuit.Success},
		{"weather", usual, weather, circuit.Failure},
		{"throttled", usual, stage.Throttled(weather, time.Second), circuit.Failure},
		{"too late", usual, context.DeadlineExceeded, circuit.Failure},
		{"needs a person", usual, fatal, circuit.Failure},
		{"stopped", usual, context.Canceled, circuit.Ignored},
		{"weather, which is not recorded", record("fatal"), weather, circuit.Success},
		{"needs a person, which is not recorded", record("retryable"), fatal, circuit.Success},
		{"needs a person, which is ignored", ignore("fatal"), fatal, circuit.Ignored},
		{"bad events, which are ignored", ignore("fatal", "bad_event"), badEvent, circuit.Ignored},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := build(t, c.change)
			r.weather(c.err)
			for range 5 {
				_ = r.attempt(t.Context())
			}
			if got := r.circuit.Look().Finished; got[c.want] != 5 {
				t.Errorf("%s: %v, want 5 %v", c.name, got, c.want)
			}
			want := "closed"
			if c.want == circuit.Failure {
				want = "open"
			}
			r.is(t, want)
		})
	}
}

func TestAPanicGivesThePermitBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.HalfOpenCalls = 1 })
		r.fail(t, 5)
		r.weather(nil)
		h := r.Wrap(func(*message.Message) ([]*message.Message, error) { panic("bug") })
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = h(stage.Message(t.Context(), event.NewBatch(make([]event.Event, 1))))
		}()
		r.is(t, "half_open")
		if err := r.attempt(t.Context()); err != nil {
			t.Error(err)
		}
		r.is(t, "closed")
	})
}

func TestABatchWithNothingToDeliverIsNoTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		b := event.NewBatch(make([]event.Event, 1))
		b.Refuse(0, stage.Bad(errors.New("bad")))
		if _, err := r.handler(stage.Message(t.Context(), b)); stage.ClassOf(err) != stage.BadEvent {
			t.Errorf("got %v", err)
		}
		if n := r.Status()["buffered_calls"]; n != 0 {
			t.Errorf("%v calls counted", n)
		}
	})
}

// Whatever the sink does and however many batches come, no more than the
// trials reach a sink that is away, and in the end everything is delivered.
func TestManyBatchesThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.took = 10 * time.Millisecond
		r.weather(errAway)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					b := event.NewBatch(make([]event.Event, 3))
					for b.Unsettled() > 0 {
						if _, err := r.handler(stage.Message(t.Context(), b)); err != nil {
							time.Sleep(time.Millisecond)
						}
					}
				}
			})
		}
		time.Sleep(time.Minute)
		calls, _ := r.seen()
		// 16 at first, some of which fail after it opened; then 3 trials every 5 s.
		if most := 16 + 3*12; calls > most {
			t.Errorf("%d calls of a sink that is away for a minute, want at most %d", calls, most)
		}
		r.weather(nil)
		wg.Wait()
		r.is(t, "closed")
	})
}
