package retry

import (
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestBeforeASpoolNobodyWaitsUntilADestinationIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := stage.Throttled(errAway, 5*time.Second)
		r := build(t, asIs, func(_ int, b *event.Batch) error {
			b.FailOpen(open)
			return open
		})
		if err := r.run(stage.WithoutWaiting(t.Context()), batchOf(1)); stage.RetryAfter(err) != 5*time.Second || len(r.tries) != 1 {
			t.Errorf("got %v after tries at %v", err, r.tries)
		}
	})
}

func TestBeforeASpoolTheConfiguredRetriesAreMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, asIs, away)
		if err := r.run(stage.WithoutWaiting(t.Context()), batchOf(1)); err == nil || len(r.tries) != 4 {
			t.Errorf("got %v after tries at %v", err, r.tries)
		}
	})
}
