package circuit

import (
	"testing"
	"time"
)

func TestOnlyLegalTransitions(t *testing.T) {
	illegal := map[[2]State]bool{
		{Closed, HalfOpen}: true, {MetricsOnly, Opened}: true, {MetricsOnly, HalfOpen}: true,
	}
	for from := range State(numStates) {
		for to := range State(numStates) {
			b := onBench(t, day2(asIs))
			b.change(0, from, whyByHand)
			b.notices = nil
			err := b.to(0, to)
			switch {
			case from == to && (err != nil || len(b.notices) > 0):
				t.Errorf("%v to itself: %v, %v", from, err, b.notices)
			case from != to && illegal[[2]State{from, to}] != (err != nil):
				t.Errorf("%v to %v: %v", from, to, err)
			case err == nil && b.state != to:
				t.Errorf("%v to %v went to %v", from, to, b.state)
			}
		}
	}
}

func TestStateNumbersAreResilience4js(t *testing.T) {
	for i, name := range []string{"closed", "open", "half_open", "disabled", "forced_open", "metrics_only"} {
		if got := State(i).String(); got != name {
			t.Errorf("state %d is %s, want %s", i, got, name)
		}
	}
}

func TestDisabledLetsAllThroughAndRecordsNothing(t *testing.T) {
	b := onBench(t, day2(asIs))
	if err := b.to(0, Disabled); err != nil {
		t.Fatal(err)
	}
	b.calls("xxxxxxxxxxxxxxxxxxxx")
	b.is(Disabled)
	b.rate(-1, -1)
}

func TestForcedOpenLetsNothingThroughHoweverLong(t *testing.T) {
	b := onBench(t, day2(asIs))
	if err := b.to(0, ForcedOpen); err != nil {
		t.Fatal(err)
	}
	b.now = 1000 * time.Hour
	b.refuses()
	if w := b.wait(b.now); w != 0 {
		t.Errorf("says that it opens after %v", w)
	}
	b.reset(b.now)
	b.is(Closed)
	b.enter()
}

func TestMetricsOnlyRecordsAndTellsOnceButNeverOpens(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.slow, r.slowRate = time.Second, 50 }))
	if err := b.to(0, MetricsOnly); err != nil {
		t.Fatal(err)
	}
	b.notices = nil
	for range 20 {
		b.call(true, 2*time.Second)
	}
	b.is(MetricsOnly)
	b.rate(100, 100)
	if len(b.notices) != 2 || b.notices[0].kind != failureRateExceeded || b.notices[1].kind != slowRateExceeded {
		t.Errorf("told %+v, want each threshold once", b.notices)
	}
}

func TestResetForgetsAllResults(t *testing.T) {
	b := onBench(t, day2(asIs))
	late := b.enter()
	b.calls("xxxx")
	b.reset(b.now)
	b.calls("xxxx")
	b.record(b.now, late, true)
	b.is(Closed)
}

func TestNoticesTellTheRatesThatOpenedIt(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xx..x")
	want := []notice{
		{failureRateExceeded, Closed, Closed, whyExceeded[failureRateExceeded], 60, 0, 5},
		{changed, Closed, Opened, whyExceeded[failureRateExceeded], 60, 0, 5},
	}
	if len(b.notices) != 2 || b.notices[0] != want[0] || b.notices[1] != want[1] {
		t.Errorf("told %+v, want %+v", b.notices, want)
	}
}

func TestSoManyFailuresInTheWindowOpenItWhateverTheMinimum(t *testing.T) {
	b := onBench(t, day2(func(r *rules) {
		r.failureRate, r.failures, r.minCalls, r.window = 0, 5, 100, Window{Span: 10 * time.Second}
	}))
	b.calls("xx")
	b.now = 9 * time.Second
	b.calls("xx.......")
	b.is(Closed)
	b.now = 10 * time.Second // the first two have left the window
	b.calls("xx")
	b.is(Closed)
	b.calls("x")
	b.is(Opened)
	if why := b.notices[len(b.notices)-1].why; why != "too many calls failed" {
		t.Errorf("it says that %s", why)
	}
}

func TestFailuresOneAfterTheOtherOpenIt(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.failureRate, r.consecutive = 0, 3 }))
	b.calls("xx.xx.xx.xx")
	b.is(Closed)
	b.calls("x")
	b.is(Opened)
}

func TestWithoutAFailureRateTheTrialsAreStillJudged(t *testing.T) {
	b, first := halfOpenBench(t, day2(func(r *rules) { r.failureRate, r.consecutive = 0, 3 }))
	b.record(b.now, first, true)
	b.calls(".x") // 2 of 3 is over the 50 % for trials
	b.is(Opened)
}

func TestHalfOpenEndsWhenItsTrialsTakeTooLong(t *testing.T) {
	for _, then := range []State{Opened, Closed} {
		b, first := halfOpenBench(t, day2(func(r *rules) { r.halfOpenFor, r.halfOpenThen = 2*time.Second, then }))
		b.now += 2*time.Second - 1
		b.tick(b.now)
		b.is(HalfOpen)
		b.now++
		b.record(b.now, first, false) // too late by an instant
		b.is(then)
		if then == Opened && b.attempts != 2 {
			t.Errorf("%d attempts, want the second", b.attempts)
		}
	}
}

func TestGoingWhereItIsBeginsAnewAndTellsNobody(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xxxx")
	if err := b.to(b.now, Closed); err != nil || len(b.notices) > 0 {
		t.Fatalf("%v, told %v", err, b.notices)
	}
	b.calls("xxxx")
	b.is(Closed)
	b.calls("x")
	b.now = 4 * time.Second
	if err := b.to(b.now, Opened); err != nil {
		t.Fatal(err)
	}
	b.now = 8 * time.Second
	b.refuses() // the wait began again at 4s
}
