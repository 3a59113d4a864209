package stagetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"millrace/engine/stage"
)

// Clock is a stage.Clock that the test holds. It may be used from any
// goroutine.
type Clock struct {
	mu       sync.Mutex
	now      time.Time
	runs     bool
	sleepers []*sleeper // by the time they wake, then by the order they came
	changed  signal
}

type sleeper struct {
	until time.Time
	awake chan struct{}
}

var _ stage.Clock = (*Clock)(nil)

// NewClock is a clock that stands still until Advance.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// NewRunningClock is a clock that jumps ahead whenever somebody sleeps: an
// hour of waiting costs the test next to nothing.
func NewRunningClock(start time.Time) *Clock { return &Clock{now: start, runs: true} }

// Now is the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep waits until the clock was advanced by d, or until the context ends,
// whose error it returns then.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	if c.runs {
		c.now = c.now.Add(d)
		c.mu.Unlock()
		return breathe(ctx)
	}
	s := &sleeper{until: c.now.Add(d), awake: make(chan struct{})}
	at, _ := slices.BinarySearchFunc(c.sleepers, s, func(have, new *sleeper) int {
		if have.until.After(new.until) {
			return 1
		}
		return -1 // behind those that wake at the same time
	})
	c.sleepers = slices.Insert(c.sleepers, at, s)
	c.changed.tell()
	c.mu.Unlock()
	select {
	case <-s.awake:
		return nil
	case <-ctx.Done():
		c.forget(s)
		return ctx.Err()
	}
}

// breathe lets others run, so that a loop that sleeps does not become one
// that burns a core.
func breathe(ctx context.Context) error {
	t := time.NewTimer(50 * time.Microsecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (c *Clock) forget(s *sleeper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.sleepers, s); i >= 0 {
		c.sleepers = slices.Delete(c.sleepers, i, i+1)
		c.changed.tell()
	}
}

// Advance moves the clock by d. Those who sleep until then are woken in the
// order of their times.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.now.Add(d)
	for len(c.sleepers) > 0 && !c.sleepers[0].until.After(end) {
		c.now = c.sleepers[0].until
		close(c.sleepers[0].awake)
		c.sleepers = c.sleepers[1:]
	}
	c.now = end
	c.changed.tell()
}

// run lets the clock jump from now on, and wakes all who sleep.
func (c *Clock) run() {
	c.mu.Lock()
	c.runs = true
	c.mu.Unlock()
	c.Advance(10 * 365 * 24 * time.Hour)
}

// Sleepers is how many sleep now.
func (c *Clock) Sleepers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sleepers)
}

// AwaitSleepers waits until at least n sleep, or until the context ends, whose
// error it returns then.
func (c *Clock) AwaitSleepers(ctx context.Context, n int) error {
	return c.changed.await(ctx, &c.mu, func() bool { return len(c.sleepers) >= n })
}
