package generator

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/load"
	"millrace/engine/stage"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func planOf(t interface{ Fatalf(string, ...any) }, p load.Profile) *load.Plan {
	var found stage.Problems
	plan := p.Compile(&found)
	if plan == nil {
		t.Fatalf("%s: %+v", p.JSON(), found.Found)
	}
	return plan
}

// plain is what events say by default.
var plain = compile(config().Content, 1, "host-1", &stage.Problems{})

func pacerOf(t interface{ Fatalf(string, ...any) }, rate load.Rate) *pacer {
	return newPacer(planOf(t, load.Constant(rate)), plain, 0, epoch)
}

func anyRate(t *rapid.T) load.Rate {
	return load.Rate(rapid.SampledFrom([]float64{0.5, 1, 7, 333.3, 1000, 250_000}).Draw(t, "rate"))
}

// Whatever the sequence of starts, stops, changes, pauses and reads: events are
// numbered without a gap and none twice, no event is handed out before it is
// due, a stopped generator hands out nothing, and a start owes nothing.
func TestNoEventIsLostOrDoubledOverStopsStartsAndChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.SampledFrom([]int64{0, 1, 100, 5000}).Draw(t, "count")
		now := epoch
		p := newPacer(planOf(t, load.Constant(anyRate(t))), plain, count, now)
		var running bool
		var began, last time.Time
		var next int64
		take := func(t *rapid.T) {
			do, turn, wait := p.take(now, nil)
			switch do {
			case handOut:
				if n := len(turn.due); !running || turn.first != next || n < 1 || n > 1000 {
					t.Fatalf("turn of %d from %d while running=%v; the next event is %d", n, turn.first, running, next)
				}
				for _, d := range turn.due {
					due := time.Unix(0, turn.origin).Add(d)
					if due.After(now) || due.Before(began) || due.Before(last) {
						t.Fatalf("handed out at %v what is due at %v, after what was due at %v; it began at %v", now, due, last, began)
					}
					last = due
				}
				next += int64(len(turn.due))
			case sleep:
				if !running || wait <= 0 {
					t.Fatalf("sleeps %v while running=%v", wait, running)
				}
			case halt:
				if v := p.view(now); running && v.offered > 0 {
					t.Fatalf("halts while %v/s are asked for", v.offered)
				}
			case finish:
				if count == 0 || next != count {
					t.Fatalf("finishes after %d of %d", next, count)
				}
			}
		}
		change := func(c load.Change) {
			var found stage.Problems
			if _, err := p.change(c, now, &found); err != nil && (count == 0 || next < count) {
				t.Fatalf("%v: %v", c, err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": take,
			"start": func(*rapid.T) {
				if _, did := p.start(now); did == running {
					t.Fatal("a start does not know whether it is one")
				}
				if !running {
					running, began, last = true, now.Truncate(tick), time.Time{}
				}
			},
			"stop": func(*rapid.T) { p.stop(now); running = false },
			"swap": func(t *rapid.T) { change(load.Change{Plan: planOf(t, load.Constant(anyRate(t)))}) },
			"rate": func(t *rapid.T) {
				rate := anyRate(t)
				change(load.Change{Rate: &rate, TTL: time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "ttl"))})
			},
			"pause": func(t *rapid.T) { paused := rapid.Bool().Draw(t, "pause"); change(load.Change{Pause: &paused}) },
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "for")))
			},
			"": func(t *rapid.T) {
				v := p.view(now)
				if v.total != next || v.running != (running && (count == 0 || next < count)) {
					t.Fatalf("shows %+v; %d were handed out, running=%v", v, next, running)
				}
			},
		})
	})
}

func TestAfterSleepingSomethingIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pacerOf(t, anyRate(t))
		p.start(epoch)
		now := epoch.Add(time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "now")))
		for range 20 {
			do, _, wait := p.take(now, nil)
			if do == sleep {
				now = now.Add(wait)
				if do, _, _ = p.take(now, nil); do != handOut {
					t.Fatalf("after the sleep of %v nothing is due", wait)
				}
			}
		}
	})
}

func TestAStartAfterAStopOwesNothing(t *testing.T) {
	p := pacerOf(t, 1000)
	p.start(epoch)
	p.stop(epoch)
	later := epoch.Add(time.Hour)
	p.start(later)
	if do, turn, _ := p.take(later, nil); do != sleep {
		t.Fatalf("got %+v at the moment of the start", turn)
	}
	_, turn, _ := p.take(later.Add(5*time.Millisecond), nil)
	if len(turn.due) != 5 || turn.due[0] != time.Hour+time.Millisecond {
		t.Fatalf("5 ms after the start got %+v", turn)
	}
}

func TestAnIdleStartDoesNotBeginAgain(t *testing.T) {
	p := pacerOf(t, 1000)
	p.start(epoch)
	p.start(epoch.Add(10 * time.Millisecond))
	if _, turn, _ := p.take(epoch.Add(20*time.Millisecond), nil); len(turn.due) != 20 {
		t.Fatalf("got %+v, want the 20 events since the first start", turn)
	}
}

func TestAWallClockThatIsSetMovesTheIntendedTimes(t *testing.T) {
	// Only the system's clock has a monotonic part, so a jump of the wall clock
	// is made by claiming that the generator was opened at another wall time.
	now := time.Now()
	p := newPacer(planOf(t, load.Constant(1000)), plain, 0, now)
	p.start(now)
	p.origin -= int64(time.Hour)
	_, turn, _ := p.take(now.Add(time.Second), nil)
	if turn.origin != now.UnixNano() {
		t.Fatalf("the beginning is %v off", time.Duration(turn.origin-now.UnixNano()))
	}
	p.origin -= int64(time.Millisecond)
	if _, turn, _ = p.take(now.Add(2*time.Second), nil); turn.origin == now.UnixNano() {
		t.Fatal("intended times follow every jitter of the clock")
	}
}

func TestTheMeterCountsFullSeconds(t *testing.T) {
	var m meter
	for second := range int64(200) {
		m.add(second, 2*second)
		m.add(second, 1)
	}
	if got := m.last(199); got != 2*198+1 {
		t.Errorf("last full second: %d", got)
	}
	if got, want := m.average(200), float64(2*(140+199)/2+1); got != want {
		t.Errorf("average of 60 s: %v, want %v", got, want)
	}
	if got := m.average(1000); got != 0 {
		t.Errorf("average after a long pause: %v", got)
	}
	var short meter
	short.add(0, 30)
	if got := short.average(3); got != 10 {
		t.Errorf("average of the 3 s there have been: %v, want 10", got)
	}
	if short.last(0) != 0 || short.average(0) != 0 {
		t.Error("there is a rate before the first second is over")
	}
}

func TestOneOfManyStopsAtOnceIsTheOneThatStops(t *testing.T) {
	p := pacerOf(t, 100)
	const stoppers, rounds = 4, 5000
	var stopped atomic.Int64
	for range rounds {
		p.start(epoch)
		var ready atomic.Int64
		var stops sync.WaitGroup
		for range stoppers {
			stops.Go(func() {
				for ready.Add(1); ready.Load() < stoppers; {
					runtime.Gosched() // until all are there, so that they come at once
				}
				if _, did := p.stop(epoch); did {
					stopped.Add(1)
				}
			})
		}
		stops.Wait()
	}
	if n := stopped.Load(); n != rounds {
		t.Errorf("%d stops of %d runs", n, rounds)
	}
}
