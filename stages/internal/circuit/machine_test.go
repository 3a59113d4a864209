package circuit

import (
	"testing"
	"time"

	"millrace/engine/stage"
)

// day2 are the rules of a usual pipeline: 50 % of the last 10, at least 5.
func day2(change func(*rules)) rules {
	c := Defaults()
	c.Window, c.MinCalls, c.HalfOpenCalls = Window{Calls: 10}, new(5), 3
	r := c.rules()
	r.open.first = 5 * time.Second
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

func (b *bench) enter() Permit {
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

func (b *bench) is(want State) {
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

func (b *bench) refuses() {
	b.Helper()
	if _, ok := b.acquire(b.now); ok {
		b.Fatalf("got a permit while %v", b.state)
	}
}

func TestOpensAtExactlyTheThreshold(t *testing.T) {
	b := onBench(t, day2(asIs))
	b.calls("xx....")
	b.is(Closed) // 2 of 6
	b.calls("xx")
	b.is(Opened) // 4 of 8 is 50 %
	b.rate(50, 0)
}

func TestThresholdsWithFractionsAreMetExactly(t *testing.T) {
	c := Defaults()
	c.Window, c.MinCalls, c.FailureRate = Window{Calls: 1000}, new(1000), new(stage.Percent)
	if err := c.FailureRate.UnmarshalText([]byte("33.3%")); err != nil {
		t.Fatal(err)
	}
	b := onBench(t, c.rules())
	for i := range 999 {
		b.call(i < 332, 0)
	}
	b.is(Closed)
	b.call(true, 0)
	b.is(Opened)
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
	b.is(Opened) // 4 of 9 were slow
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
	b.is(Closed)
	b.rate(-1, -1)
	b.calls("x")
	b.is(Opened)
	b.rate(100, 0)
}

func TestMinimumIsAtMostACountWindow(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.minCalls = 100 }))
	b.calls("xxxxxxxxx")
	b.is(Closed)
	b.calls("x")
	b.is(Opened)
}

func TestMinimumOfATimeWindowIsAsConfigured(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.window, r.minCalls = Window{Span: 2 * time.Second}, 20 }))
	b.calls("xxxxxxxxxxxxxxxxxxx")
	b.is(Closed)
	b.calls("x")
	b.is(Opened)
}

func TestCountWindowForgetsTheOldestCall(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.failureRate, r.minCalls = 60, 10 }))
	b.calls("x.x.x.x.x.")
	b.rate(50, 0)
	b.calls("..")
	b.rate(40, 0)
	b.calls("xxxx") // the window is now x.x...xxxx
	b.is(Opened)
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
	b.is(Opened)
	if w := b.wait(b.now); w != 5*time.Second+1 {
		t.Errorf("wait is %v", w)
	}
	b.now = 5 * time.Second
	b.refuses()    // Resilience4j asks for more than the wait
	b.rate(100, 0) // the closed window's results stay
	b.now++
	b.is(Opened) // nothing happens by itself
	b.enter()
	b.is(HalfOpen)
	b.rate(-1, -1)
}

func TestTickTurnsHalfOpenWithoutACall(t *testing.T) {
	b := onBench(t, day2(func(r *rules) { r.automatic = true }))
	b.calls("xxxxx")
	if at, ok := b.due(); !ok || at != 5*time.Second {
		t.Errorf("due at %v (%v)", at, ok)
	}
	b.tick(5*time.Second - 1)
	b.is(Opened)
	b.tick(5 * time.Second)
	b.is(HalfOpen)
}

// halfOpenBench is a machine that has just let its first trial through.
func halfOpenBench(t *testing.T, r rules) (*bench, Permit) {
	b := onBench(t, r)
	for b.state == Closed {
		b.call(true, 0)
	}
	b.now += r.open.first + 1
	p := b.enter()
	b.is(HalfOpen)
	return b, p
}

func TestHalfOpenAdmitsExactlyItsCalls(t *testing.T) {
	b, first := halfOpenBench(t, day2(asIs))
	second, third := b.enter(), b.enter()
	b.refuses()
	b.record(b.now, first, false)
	b.refuses() // a result does not make room for another trial
	b.record(b.now, second, true)
	b.is(HalfOpen)
	b.record(b.now, third, false)
	b.is(Closed) // 1 of 3 failed
	b.rate(-1, -1)
	if b.attempts != 0 {
		t.Errorf("%d attempts after closing", b.attempts)
	}
}

func TestHalfOpenDecidesAtTheMinimum(t *testing.T) {
	b, first := halfOpenBench(t, day2(func(r *rules) { r.halfOpenCalls = 10 }))
	permits := []Permit{first}
	for len(permits) < 10 {
		permits = append(permits, b.enter())
	}
	for _, p := range permits[:4] {
		b.record(b.now, p, false)
	}
	b.is(HalfOpen)
	b.record(b.now, permits[4], false)
	b.is(Closed) // min(5, 10) results are enough
	for _, p := range permits[5:] {
		b.record(b.now, p, true)
	}
	b.is(Closed)
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("%d late trials count for the Closed breaker", got.calls)
	}
}

func TestHalfOpenOpensAgainAndCountsItsAttempts(t *testing.T) {
	b, p := halfOpenBench(t, day2(asIs))
	for round := 2; round < 5; round++ {
		b.record(b.now, p, true)
		b.calls(".x")
		b.is(Opened) // 2 of 3 failed
		if b.attempts != round {
			t.Errorf("%d attempts, want %d", b.attempts, round)
		}
		b.now += 5*time.Second + 1
		p = b.enter()
	}
}

func TestIgnoredCallsGiveTheirPermitBack(t *testing.T) {
	b, first := halfOpenBench(t, day2(asIs))
	b.enter()
	b.enter()
	b.refuses()
	if !b.release(first) {
		t.Error("nobody is told that a permit is free")
	}
	b.enter()
	b.refuses()
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("an ignored call counts: %+v", got)
	}
}

func TestLateResultsOfAnOlderStateAreDropped(t *testing.T) {
	b := onBench(t, day2(asIs))
	var late []Permit
	for range 5 {
		late = append(late, b.enter())
	}
	b.calls("xxxxx")
	b.is(Opened)
	b.record(b.now, late[0], false)
	b.rate(100, 0)
	b.now += 5*time.Second + 1
	b.enter()
	for _, p := range late[1:4] {
		b.record(b.now, p, false)
	}
	b.is(HalfOpen)
	if got := b.seen.totals(b.now); got.calls != 0 {
		t.Errorf("%d late results pass for trials", got.calls)
	}
	if b.release(late[4]) || b.permits != 2 {
		t.Errorf("a late call gave a permit back: %d left", b.permits)
	}
}
