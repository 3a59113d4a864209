package spool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"millrace/engine/stage"
)

// A client may take long to find out that nobody is there: a sink's timeout is
// meant for slow answers. Meanwhile the batches that are on their way hold up
// all others. So attempts that take longer than this are looked after: what
// they deliver to is asked whether it is there, and when it is not, they are
// given up and their events stored. No answer to the question proves nothing: a
// busy client may not come to ask.
const (
	patience     = time.Second
	probeTimeout = time.Second
)

// vigil knows the attempts of a front that are on their way.
type vigil struct {
	mu       sync.Mutex
	attempts []*attempt
}

// attempt is the context of one try of the chain. When it is given up it looks
// like one whose time is over, so that stages take it for weather.
type attempt struct {
	context.Context
	giveUp context.CancelCauseFunc
	began  time.Time
}

// goneError is why an attempt was given up.
type goneError struct{ err error }

func (e *goneError) Error() string {
	return fmt.Sprintf("no answer for %v, and nobody is there: %v", patience, e.err)
}
func (e *goneError) Unwrap() error { return e.err }

// Err is the deadline's error where the attempt was given up.
func (a *attempt) Err() error {
	err := a.Context.Err()
	if err != nil && a.gone() != nil {
		return context.DeadlineExceeded
	}
	return err
}

// gone is why the attempt was given up; nil: it was not.
func (a *attempt) gone() error {
	if gone, ok := context.Cause(a.Context).(*goneError); ok {
		return gone
	}
	return nil
}

func (v *vigil) begin(ctx context.Context) *attempt {
	a := &attempt{began: time.Now()}
	a.Context, a.giveUp = context.WithCancelCause(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.attempts = append(v.attempts, a)
	return a
}

// end is the result of an attempt that has returned err.
func (v *vigil) end(a *attempt, err error) error {
	v.mu.Lock()
	v.attempts = slices.DeleteFunc(v.attempts, func(other *attempt) bool { return other == a })
	v.mu.Unlock()
	gone := a.gone()
	a.giveUp(nil)
	if class := stage.ClassOf(err); gone != nil && (class == stage.Retryable || class == stage.Stopped) {
		return gone
	}
	return err
}

// overdue says whether an attempt began before a time.
func (v *vigil) overdue(before time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.attempts, func(a *attempt) bool { return a.began.Before(before) })
}

// giveUp ends the attempts that began before a time.
func (v *vigil) giveUp(before time.Time, why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range v.attempts {
		if a.began.Before(before) {
			a.giveUp(&goneError{why})
		}
	}
}

// Watch looks after attempts that take long, until the context ends.
func (f *Front) Watch(ctx context.Context) {
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (f *Front) look(ctx context.Context) {
	began := time.Now()
	if !f.watch.overdue(began.Add(-patience)) {
		return
	}
	probing, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := f.Probe(probing); err != nil && probing.Err() == nil {
		f.watch.giveUp(began, err)
	}
}
