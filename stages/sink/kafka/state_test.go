package kafka

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/stage"
)

func TestSecondsToFullFollowsTheRateAtWhichTheBufferFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill{clock: stage.SystemClock}
		look := func(left int64, want float64) {
			t.Helper()
			if got := f.secondsToFull(left); got != want {
				t.Errorf("with %d left: %v s, want %v", left, got, want)
			}
		}
		look(1000, math.Inf(1)) // nothing is known yet
		time.Sleep(2 * time.Second)
		look(800, 8) // 100 a second
		time.Sleep(time.Millisecond)
		look(800, 8) // too soon for another rate
		time.Sleep(time.Second)
		look(900, math.Inf(1)) // it empties
		time.Sleep(2 * time.Second)
		look(0, 0)
	})
}

func TestTheMemoryOfProducersIsPartitionsTimesBatchBytes(t *testing.T) {
	m := memory{batchBytes: 16 << 10, producers: 1, configured: 1000}
	if m.of(0) != 16384000 || m.of(2000) != 2*16384000 {
		t.Errorf("%d, %d", m.of(0), m.of(2000))
	}
	if m.producers = 2; m.of(0) != 2*16384000 {
		t.Errorf("two producers: %d", m.of(0))
	}
}
