package stagetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestAdvanceWakesSleepersInTheOrderOfTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(noon)
		var mu sync.Mutex
		var woken []int
		for _, seconds := range []int{3, 1, 2, 9} {
			go func() {
				if c.Sleep(t.Context(), time.Duration(seconds)*time.Second) == nil {
					mu.Lock()
					woken = append(woken, seconds)
					mu.Unlock()
				}
			}()
		}
		if err := c.AwaitSleepers(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.Advance(time.Second)
			synctest.Wait()
		}
		if want := []int{1, 2, 3}; !slices.Equal(woken, want) {
			t.Errorf("woke %v, want %v", woken, want)
		}
		if c.Sleepers() != 1 || !c.Now().Equal(noon.Add(3*time.Second)) {
			t.Errorf("%d sleep at %v", c.Sleepers(), c.Now())
		}
		c.Advance(time.Minute)
	})
}

func TestOneAdvanceMayWakeMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(noon)
		for i := range 5 {
			go func() { _ = c.Sleep(t.Context(), time.Duration(i)*time.Second) }()
		}
		synctest.Wait()
		c.Advance(time.Hour)
		synctest.Wait()
		if c.Sleepers() != 0 {
			t.Errorf("%d still sleep after an hour", c.Sleepers())
		}
	})
}

func TestAHeldSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(noon)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || c.Sleepers() != 0 {
			t.Errorf("%v, and %d still sleep", err, c.Sleepers())
		}
		if err := c.AwaitSleepers(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a sleeper that never comes: %v", err)
		}
		if err := c.Sleep(t.Context(), 0); err != nil {
			t.Errorf("no sleep at all: %v", err)
		}
	})
}

func TestARunningClockJumps(t *testing.T) {
	c := NewRunningClock(noon)
	if err := c.Sleep(t.Context(), time.Hour); err != nil || !c.Now().Equal(noon.Add(time.Hour)) {
		t.Errorf("after an hour's sleep it is %v (%v)", c.Now(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("sleeping in a cancelled context: %v", err)
	}
}
