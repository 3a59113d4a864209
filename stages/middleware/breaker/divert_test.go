package breaker

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// diverting is a breaker whose batches go elsewhere while it is open.
func diverting(t *testing.T) (r, elsewhere *rig) {
	elsewhere = &rig{}
	r = build(t, func(c *Config) { c.OnOpen.Divert = "on_open.divert" })
	r.divert = elsewhere.sink
	return r, elsewhere
}

func TestWhileItIsOpenBatchesAreDivertedAndTrialsAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, elsewhere := diverting(t)
		if err := r.attempt(t.Context()); err != nil || elsewhere.calls != 0 {
			t.Fatalf("closed: %v, %d batches diverted", err, elsewhere.calls)
		}
		r.fail(t, 4)
		r.is(t, "open")
		calls := r.calls
		for range 3 {
			b := event.NewBatch(make([]event.Event, 2))
			if _, err := r.handler(stage.Message(t.Context(), b)); err != nil || b.Count(event.Delivered) != 2 {
				t.Errorf("%v, %d delivered", err, b.Count(event.Delivered))
			}
		}
		if r.calls != calls || elsewhere.calls != 3 {
			t.Errorf("%d batches went to the sink that is away, %d elsewhere", r.calls-calls, elsewhere.calls)
		}
		r.weather(nil)
		time.Sleep(6 * time.Second)
		for range 3 {
			if err := r.attempt(t.Context()); err != nil {
				t.Error(err)
			}
		}
		r.is(t, "closed")
		if r.calls != calls+3 || elsewhere.calls != 3 {
			t.Errorf("%d trials, %d batches diverted in all", r.calls-calls, elsewhere.calls)
		}
	})
}

func TestWhatCannotBeDivertedStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, elsewhere := diverting(t)
		r.fail(t, 5)
		full := errors.New("disk full")
		elsewhere.err = full
		b := event.NewBatch(make([]event.Event, 2))
		if _, err := r.handler(stage.Message(t.Context(), b)); !errors.Is(err, full) || b.Count(event.Open) != 2 {
			t.Errorf("%v, %d open", err, b.Count(event.Open))
		}
		elsewhere.err = nil
		if _, err := r.handler(stage.Message(t.Context(), b)); err != nil || b.Count(event.Delivered) != 2 {
			t.Errorf("%v, %d delivered", err, b.Count(event.Delivered))
		}
	})
}
