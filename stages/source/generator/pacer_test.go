package generator

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Whatever the sequence of starts, stops, pauses and reads: events are
// numbered without a gap and none twice, no event is handed out before it is
// due, a stopped generator hands out nothing, and a start owes nothing.
func TestNoEventIsLostOrDoubledOverStopsAndStarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate(rapid.SampledFrom([]float64{0.5, 1, 7, 333.3, 1000, 250_000}).Draw(t, "rate"))
		count := rapid.SampledFrom([]int64{0, 1, 100, 5000}).Draw(t, "count")
		now := epoch
		p := newPacer(rate, count, 1000, now)
		var running bool
		var began time.Time
		var next, sinceStart int64
		take := func(t *rapid.T) {
			do, turn, wait, _ := p.take(now)
			switch do {
			case handOut:
				if !running || turn.first != next || turn.place != sinceStart || turn.n < 1 || turn.n > 1000 {
					t.Fatalf("turn %+v while running=%v; the next event is %d, in the schedule %d", turn, running, next, sinceStart)
				}
				last := p.schedule.at(turn.place + int64(turn.n) - 1)
				if due := time.Unix(0, turn.origin).Add(last); due.After(now) || turn.origin != began.UnixNano() {
					t.Fatalf("handed out at %v what is due at %v", now, due)
				}
				next += int64(turn.n)
				sinceStart += int64(turn.n)
			case sleep:
				if !running || wait <= 0 {
					t.Fatalf("sleeps %v while running=%v", wait, running)
				}
				if idle := now.Sub(began).Truncate(tick); p.schedule.due(idle) != sinceStart {
					t.Fatalf("sleeps although %d are due and %d were handed out", p.schedule.due(idle), sinceStart)
				}
			case halt:
				if running {
					t.Fatal("halts while running")
				}
			case finish:
				if count == 0 || next != count {
					t.Fatalf("finishes after %d of %d", next, count)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": take,
			"start": func(*rapid.T) {
				p.start(now)
				if !running {
					running, began, sinceStart = true, now, 0
				}
			},
			"stop": func(*rapid.T) { p.stop(); running = false },
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
		p := newPacer(anyRate(t), 0, 1000, epoch)
		p.start(epoch)
		now := epoch.Add(anyElapsed(t, "elapsed") / 1000)
		for range 20 {
			do, _, wait, _ := p.take(now)
			if do == sleep {
				now = now.Add(wait)
				if do, _, _, _ = p.take(now); do != handOut {
					t.Fatalf("after the sleep of %v nothing is due", wait)
				}
			}
		}
	})
}

func TestAStartAfterAStopOwesNothing(t *testing.T) {
	p := newPacer(1000, 0, 1000, epoch)
	p.start(epoch)
	p.stop()
	later := epoch.Add(time.Hour)
	p.start(later)
	if do, turn, _, _ := p.take(later); do != sleep {
		t.Fatalf("got %+v at the moment of the start", turn)
	}
	_, turn, _, _ := p.take(later.Add(5 * time.Millisecond))
	if turn.n != 5 || turn.origin != later.UnixNano() {
		t.Fatalf("5 ms after the start got %+v", turn)
	}
}

func TestAnIdleStartDoesNotBeginAgain(t *testing.T) {
	p := newPacer(1000, 0, 1000, epoch)
	p.start(epoch)
	p.start(epoch.Add(10 * time.Millisecond))
	if _, turn, _, _ := p.take(epoch.Add(20 * time.Millisecond)); turn.n != 20 {
		t.Fatalf("got %+v, want the 20 events since the first start", turn)
	}
}

func TestAWallClockThatIsSetMovesTheIntendedTimes(t *testing.T) {
	// Only the system's clock has a monotonic part, so a jump of the wall clock
	// is made by claiming that the schedule began at another wall time.
	now := time.Now()
	p := newPacer(1000, 0, 1000, now)
	p.start(now)
	p.origin -= int64(time.Hour)
	_, turn, _, _ := p.take(now.Add(time.Second))
	if turn.origin != now.UnixNano() {
		t.Fatalf("the schedule begins %v off", time.Duration(turn.origin-now.UnixNano()))
	}
	p.origin -= int64(time.Millisecond)
	if _, turn, _, _ = p.take(now.Add(2 * time.Second)); turn.origin == now.UnixNano() {
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
