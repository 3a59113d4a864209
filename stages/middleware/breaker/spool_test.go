package breaker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

func TestBeforeASpoolAnOpenBreakerMakesNoBatchWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.fail(t, 5)
		began := time.Now()
		err := r.attempt(stage.WithoutWaiting(t.Context()))
		if !errors.Is(err, circuit.ErrOpen) || stage.ClassOf(err) != stage.Retryable || time.Since(began) != 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.attempt(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without one it does not wait: %v", err)
		}
	})
}
