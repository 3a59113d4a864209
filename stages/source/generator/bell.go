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
	rung  chan struct{} // holds one ring that nobody has heard
	alarm *alarm        // for short sleeps; nil: the clock is slept by
}

func newBell() bell { return bell{rung: make(chan struct{}, 1)} }

// ring wakes whoever waits, or the next one to wait.
func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// wait waits for a ring or the end of the context.
func (b *bell) wait(ctx context.Context) {
	select {
	case <-b.rung:
	case <-ctx.Done():
	}
}

// sleep waits for a time, the end of the context or, when it is a long time, a
// ring. It may be woken somewhat before a long time is over.
func (b *bell) sleep(ctx context.Context, clock stage.Clock, d time.Duration) {
	if d <= nap {
		b.doze(ctx, clock, d)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var listener sync.WaitGroup
	listener.Go(func() {
		b.wait(ctx)
		cancel()
	})
	if b.alarm != nil {
		d -= tick // which a doze sleeps better
	}
	_ = clock.Sleep(ctx, d) // the caller looks at the context
	cancel()
	listener.Wait()
}

// doze waits for a short time. A clock that stands still while the machine's
// goes on is held by a test, and slept by from then on.
func (b *bell) doze(ctx context.Context, clock stage.Clock, d time.Duration) {
	if b.alarm != nil {
		before := clock.Now()
		if b.alarm.sleep(d) && clock.Now().Sub(before) >= d/2 {
			return
		}
		b.quiet()
	}
	_ = clock.Sleep(ctx, d)
}

// quiet does without the alarm.
func (b *bell) quiet() {
	if b.alarm != nil {
		b.alarm.close()
		b.alarm = nil
	}
}
