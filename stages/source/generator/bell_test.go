package generator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/stage"
)

func TestAShortSleepIsNeverTooShort(t *testing.T) {
	b := newBell()
	b.alarm = newAlarm()
	for _, d := range []time.Duration{1, time.Microsecond, 300 * time.Microsecond, time.Millisecond, nap} {
		before := time.Now()
		b.sleep(t.Context(), stage.SystemClock, d)
		if took := time.Since(before); took < d {
			t.Errorf("slept %v instead of %v", took, d)
		}
	}
	b.quiet()
	before := time.Now()
	b.sleep(t.Context(), stage.SystemClock, time.Millisecond)
	if took := time.Since(before); took < time.Millisecond {
		t.Errorf("slept %v instead of a millisecond without an alarm", took)
	}
}

func TestAnAlarmThatFailsIsDoneWithout(t *testing.T) {
	b := newBell()
	if b.alarm = newAlarm(); b.alarm == nil {
		return // there is none on this system
	}
	b.alarm.close()
	before := time.Now()
	b.sleep(t.Context(), stage.SystemClock, time.Millisecond)
	if took := time.Since(before); took < time.Millisecond || b.alarm != nil {
		t.Errorf("slept %v, and the alarm is %v", took, b.alarm)
	}
}

func TestAClockThatATestHoldsIsSleptBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBell()
		b.alarm = newAlarm()
		for range 2 {
			before := time.Now()
			b.sleep(t.Context(), stage.SystemClock, time.Millisecond)
			if took := time.Since(before); took != time.Millisecond || b.alarm != nil {
				t.Errorf("slept %v by the clock of the test, and the alarm is %v", took, b.alarm)
			}
		}
	})
}

func TestALongSleepEndsWithARingOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBell()
		before := time.Now()
		b.ring()
		b.sleep(t.Context(), stage.SystemClock, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.sleep(ctx, stage.SystemClock, time.Hour)
		if took := time.Since(before); took != 0 {
			t.Errorf("slept %v", took)
		}
	})
}
