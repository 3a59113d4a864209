package stage

import (
	"context"
	"time"
)

// Clock is time as stages see it, so that a test can hold it.
type Clock interface {
	Now() time.Time
	// Sleep waits for d or until the context ends, whose error it returns then.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the real time.
var SystemClock Clock = systemClock{}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
