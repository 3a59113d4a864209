package engine

import (
	"context"
	"errors"
	"fmt"

	"millrace/engine/batching"
	"millrace/engine/stage"
)

// persist opens what it is told to, again and again while that fails for
// weather. What an attempt has opened in w before it failed is closed again.
func (r *route) persist(w *wiring, tell func(error), open func() error) error {
	var last error // what it was waiting for
	for attempt := 0; ; attempt++ {
		err := safely(open)
		if err == nil {
			return nil
		}
		if last != nil && r.opening.Err() != nil {
			err = last // rather than that the attempt was interrupted
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.drain), closeTimeout)
		err = errors.Join(err, closeAll(ctx, w.open))
		cancel()
		w.open = nil
		if r.opening.Err() != nil || stage.ClassOf(err) == stage.Unfixable || stage.ClassOf(err) == stage.BadEvent {
			return err
		}
		tell(err)
		last = err
		if stage.SystemClock.Sleep(r.opening, max(batching.Pause(attempt), stage.RetryAfter(err))) != nil {
			return err
		}
	}
}

// safely makes an error of a panic.
func safely(open func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = stage.Fatal(fmt.Errorf("a stage panicked while it was opened: %v", p))
		}
	}()
	return open()
}
