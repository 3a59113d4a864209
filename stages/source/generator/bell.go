package generator

import (
	"context"
	"sync"
	"time"

	"millrace/engine/stage"
)

// nap is how long a Read may sleep without hearing the bell. A change of the
// load counts within it, and most sleeps are shorter.
const nap = 4 * time.Millisecond

// bell wakes the one Read that waits.
type bell struct {
	rung chan struct{} // holds one ring that nobody has heard
}

func newBell() bell { return bell{make(chan struct{}, 1)} }

// ring wakes whoever waits, or the next one to wait.
func (b bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// wait waits for a ring or the end of the context.
func (b bell) wait(ctx context.Context) {
	select {
	case <-b.rung:
	case <-ctx.Done():
	}
}

// sleep waits for a time, the end of the context or, when it is a long time, a
// ring.
func (b bell) sleep(ctx context.Context, clock stage.Clock, d time.Duration) {
	if d <= nap {
		_ = clock.Sleep(ctx, d) // the caller looks at the context
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var listener sync.WaitGroup
	listener.Go(func() {
		b.wait(ctx)
		cancel()
	})
	_ = clock.Sleep(ctx, d)
	cancel()
	listener.Wait()
}
