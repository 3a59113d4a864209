package breaker

import (
	"testing"
	"time"
)

// day2 are the rules of a usual pipeline: 50 % of the last 10, at least 5.
func day2(change func(*rules)) rules {
	c := defaults()
	c.Window, c.MinCalls, c.HalfOpenCalls = Window{Calls: 10}, 5, 3
	r := c.rules()
	r.openFor = 5 * time.Second
	change(&r)
	return r
}

func asIs(*rules) {}

// bench is a machine on a test's bench, with a clock to turn by hand.
type bench struct {
	*testing.T
	*machine
	now     time.Duration
	notices []notice
}

func onBench(t *testing.T, r rules) *bench {
	b := &bench{T: t}
	b.machine = newMachine(r, func(n notice) { b.notices = append(b.notices, n) })
	return b
}

// call makes one call that takes a while.
func (b *bench) call(failed bool, took time.Duration) {
	b.Helper()
	p := b.enter()
	b.now += took
	b.record(b.now, p, failed)
}

func (b *bench) enter() permit {
	b.Helper()
	p, ok := b.acquire(b.now)
	if !ok {
		b.Fatalf("no permit at %v while %v", b.now, b.state)
	}
	return p
}

// calls makes calls at once: "x" fails, "." does not.
func (b *bench) calls(results string) {
	b.Helper()
	for _, r := range results {
		b.call(r == 'x', 0)
	}
}

func (b *bench) is(want state) {
	b.Helper()
	if b.state != want {
		b.Fatalf("state is %v, want %v", b.state, want)
	}
}

func (b *bench) rate(failure, slow float32) {
	b.Helper()
	if f, s, _ := b.rates(b.now); f != failure || s != slow {
		b.Fatalf("rates are %v and %v, want %v and %v", f, s, failure, slow)
	}
}

func (b *bench) refused() {
	b.Helper()
	if _, ok := b.acquire(b.now); ok {
		b.Fatalf("got a permit while %v", b.state)
	}
}

func TestOpensAtExactlyTheThreshold(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xx....")
	b.is(closed) // 2 of 6
	b.calls("xx")
	b.is(opened) // 4 of 8 is 50 %
	b.rate(50, 0)
}

func TestThresholdsWithFractionsAreMetExactly(t *testing.T) {
	c := defaults()
	c.Window, c.MinCalls = Window{Calls: 1000}, 1000
	if err := c.FailureRate.UnmarshalText([]byte("33.3%")); err != nil {
		t.Fatal(err)
	}
	b := onBench(t, c.rules())
	for i := range 999 {
		b.call(i < 332, 0)
	}
	b.is(closed)
	b.call(true, 0)
	b.is(opened)
}

func TestSlowIsLongerThanTheThreshold(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.slow, r.slowRate = time.Second, 40 }))
	for range 5 {
		b.call(false, time.Second)
	}
	b.rate(0, 0)
	for range 4 {
		b.call(false, time.Second+1)
	}
	b.is(opened) // 4 of 9 were slow
}

func TestACallCanBeSlowAndFailed(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.slow, r.slowRate, r.failureRate = time.Second, 100, 100 }))
	b.call(true, 2*time.Second)
	b.call(false, 2*time.Second)
	b.call(true, 0)
	if got, want := b.seen.totals(b.now), (totals{calls: 3, failed: 2, slow: 2, slowFailed: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestThereIsNoRateBelowTheMinimum(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.rate(-1, -1)
	b.calls("xxxx")
	b.is(closed)
	b.rate(-1, -1)
	b.calls("x")
	b.is(opened)
	b.rate(100, 0)
}

func TestMinimumIsAtMostACountWindow(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.minCalls = 100 }))
	b.calls("xxxxxxxxx")
	b.is(closed)
	b.calls("x")
	b.is(opened)
}

func TestMinimumOfATimeWindowIsAsConfigured(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.window, r.minCalls = Window{Span: 2 * time.Second}, 20 }))
	b.calls("xxxxxxxxxxxxxxxxxxx")
	b.is(closed)
	b.calls("x")
	b.is(opened)
}

func TestCountWindowForgetsTheOldestCall(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.failureRate, r.minCalls = 60, 10 }))
	b.calls("x.x.x.x.x.")
	b.rate(50, 0)
	b.calls("..")
	b.rate(40, 0)
	b.calls("xxxx") // the window is now x.x...xxxx
	b.is(opened)
}

func TestTimeWindowIsBucketsOfOneSecond(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.window, r.minCalls = Window{Span: 3 * time.Second}, 1; r.failureRate = 100 }))
	b.calls(".xx") // second 0
	b.now = 1999 * time.Millisecond
	b.calls("x") // second 1
	b.rate(75, 0)
	b.now = 2999 * time.Millisecond
	b.rate(75, 0) // second 0 is still in the window
	b.now = 3 * time.Second
	if f, _, calls := b.rates(b.now); f != 100 || calls != 1 {
		t.Errorf("without second 0: %v of %d", f, calls)
	}
	b.now = 4 * time.Second
	b.rate(-1, -1)
	b.now = time.Hour
	b.calls(".")
	b.rate(0, 0)
}

func TestOpenRefusesUntilTheWaitIsOver(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xxxxx")
	b.is(opened)
	if w := b.wait(b.now); w != 5*time.Second {
		t.Errorf("wait is %v", w)
	}
	b.now = 5*time.Second - 1
	b.refused()
	b.rate(100, 0) // the closed window's results stay
	b.now++
	b.is(opened) // nothing happens by itself
	b.enter()
	b.is(halfOpen)
	b.rate(-1, -1)
}

func TestTickTurnsHalfOpenWithoutACall(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xxxxx")
	b.tick(5*time.Second - 1)
	b.is(opened)
	b.tick(5 * time.Second)
	b.is(halfOpen)
}

// halfOpenBench is a machine that has just let its first trial through.
func halfOpenBench(t *testing.T, r rules) (*bench, permit) {
	b := onBench(t, r)
	for b.state == closed {
		b.call(true, 0)
	}
	b.now += r.openFor
	p := b.enter()
	b.is(halfOpen)
	return b, p
}

func TestHalfOpenAdmitsExactlyItsCalls(t *testing.T) {
	b, first := halfOpenBench(t, day2(asIs))
	second, third := b.enter(), b.enter()
	b.refused()
	b.record(b.now, first, false)
	b.refused() // a result does not make room for another trial
	b.record(b.now, second, true)
	b.is(halfOpen)
	b.record(b.now, third, false)
	b.is(closed) // 1 of 3 failed
	b.rate(-1, -1)
	if b.attempts != 0 {
		t.Errorf("%d attempts after closing", b.attempts)
	}
}

func TestHalfOpenDecidesAtTheMinimum(t *testing.T) {
	b, first := halfOpenBench(t, day2(func(r *rules) { r.halfOpenCalls = 10 }))
	permits := []permit{first}
	for len(permits) < 10 {
		permits = append(permits, b.enter())
	}
	for _, p := range permits[:4] {
		b.record(b.now, p, false)
	}
	b.is(halfOpen)
	b.record(b.now, permits[4], false)
	b.is(closed) // min(5, 10) results are enough
	for _, p := range permits[5:] {
		b.record(b.now, p, true)
	}
	b.is(closed)
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("%d late trials count for the closed breaker", got.calls)
	}
}

func TestHalfOpenOpensAgainAndCountsItsAttempts(t *testing.T) {
	b, p := halfOpenBench(t, day2(asIs))
	for round := 2; round < 5; round++ {
		b.record(b.now, p, true)
		b.calls(".x")
		b.is(opened) // 2 of 3 failed
		if b.attempts != round {
			t.Errorf("%d attempts, want %d", b.attempts, round)
		}
		b.now += 5 * time.Second
		p = b.enter()
	}
}

func TestIgnoredCallsGiveTheirPermitBack(t *testing.T) {
	b, first := halfOpenBench(t, day2(asIs))
	b.enter()
	b.enter()
	b.refused()
	if !b.release(first) {
		t.Error("nobody is told that a permit is free")
	}
	b.enter()
	b.refused()
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("an ignored call counts: %+v", got)
	}
}

func TestLateResultsOfAnOlderStateAreDropped(t *testing.T) {
	b := onBench(t, day2(asIs))
	var late []permit
	for range 5 {
		late = append(late, b.enter())
	}
	b.calls("xxxxx")
	b.is(opened)
	b.record(b.now, late[0], false)
	b.rate(100, 0)
	b.now += 5 * time.Second
	b.enter()
	for _, p := range late[1:4] {
		b.record(b.now, p, false)
	}
	b.is(halfOpen)
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("%d late results pass for trials", got.calls)
	}
	if b.release(late[4]) || b.permits != 2 {
		t.Errorf("a late call gave a permit back: %d left", b.permits)
	}
}

func TestOnlyLegalTransitions(t *testing.T) {
	illegal := map[[2]state]bool{
		{closed, halfOpen}: true, {metricsOnly, opened}: true, {metricsOnly, halfOpen}: true,
	}
	for from := range state(numStates) {
		for to := range state(numStates) {
			b := onBench(t, day2(asIs))
			b.change(0, from)
			b.notices = nil
			err := b.to(0, to)
			switch {
			case from == to && (err != nil || len(b.notices) > 0):
				t.Errorf("%v to itself: %v, %v", from, err, b.notices)
			case from != to && illegal[[2]state{from, to}] != (err != nil):
				t.Errorf("%v to %v: %v", from, to, err)
			case err == nil && b.state != to:
				t.Errorf("%v to %v went to %v", from, to, b.state)
			}
		}
	}
}

func TestStateNumbersAreResilience4js(t *testing.T) {
	for i, name := range []string{"closed", "open", "half_open", "disabled", "forced_open", "metrics_only"} {
		if got := state(i).String(); got != name {
			t.Errorf("state %d is %s, want %s", i, got, name)
		}
	}
}

func TestDisabledLetsAllThroughAndRecordsNothing(t *testing.T) {
	b := onBench(t, day2(asIs))
	if err := b.to(0, disabled); err != nil {
		t.Fatal(err)
	}
	b.calls("xxxxxxxxxxxxxxxxxxxx")
	b.is(disabled)
	b.rate(-1, -1)
}

func TestForcedOpenLetsNothingThroughHoweverLong(t *testing.T) {
	b := onBench(t, day2(asIs))
	if err := b.to(0, forcedOpen); err != nil {
		t.Fatal(err)
	}
	b.now = 1000 * time.Hour
	b.refused()
	if w := b.wait(b.now); w != 0 {
		t.Errorf("says that it opens after %v", w)
	}
	b.reset(b.now)
	b.is(closed)
	b.enter()
}

func TestMetricsOnlyRecordsAndTellsOnceButNeverOpens(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.slow, r.slowRate = time.Second, 50 }))
	if err := b.to(0, metricsOnly); err != nil {
		t.Fatal(err)
	}
	b.notices = nil
	for range 20 {
		b.call(true, 2*time.Second)
	}
	b.is(metricsOnly)
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
	b.is(closed)
}

func TestNoticesTellTheRatesThatOpenedIt(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xx..x")
	want := []notice{
		{failureRateExceeded, closed, closed, 60, 0, 5},
		{changed, closed, opened, 60, 0, 5},
	}
	if len(b.notices) != 2 || b.notices[0] != want[0] || b.notices[1] != want[1] {
		t.Errorf("told %+v, want %+v", b.notices, want)
	}
}
