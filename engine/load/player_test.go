package load

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

// take takes everything that is due, in parcels of a size.
func take(p *Player, now time.Duration, most int) (due []time.Duration) {
	for {
		had := len(due)
		if due = p.Take(now, had+most, due); len(due) < had+most {
			return due
		}
	}
}

func TestHandsOutExactlyTheCurve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile := anyProfile(t)
		profile.Scale = to(0.01)
		plan := compiled(t, profile)
		p := Play(plan, 0)
		var n int64
		var now, last time.Duration
		for range 10 {
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pass"))
			for _, d := range take(p, now, 1000) {
				n++
				if off := d - plan.When(float64(n)); d < last || d > now.Truncate(Tick) || off.Abs() > 1 {
					t.Fatalf("event %d is handed out at %v as due at %v, the one before was due at %v, the plan says %v", n, now, d, last, plan.When(float64(n)))
				}
				last = d
			}
			if want := int64(plan.Total(now.Truncate(Tick))); n < want-1 || n > want+1 {
				t.Fatalf("%d events until %v, want %d", n, now, want)
			}
		}
	})
}

func TestJitteredEventsKeepTheirCountAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile := anyProfile(t)
		profile.Scale = to(0.01)
		profile.Arrivals = Arrivals{Jitter: to(stage.Percent(rapid.Float64Range(0, 1).Draw(t, "jitter")))}
		plan := compiled(t, profile)
		p := Play(plan, 0)
		var n int64
		var now, last time.Duration
		for range 10 {
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pass"))
			for _, d := range take(p, now, 1000) {
				n++
				if d < last {
					t.Fatalf("event %d at %v comes after one at %v", n, d, last)
				}
				last = d
			}
			if want := int64(plan.Total(now.Truncate(Tick))); n < want-1 || n > want+1 {
				t.Fatalf("%d events until %v, want %d", n, now, want)
			}
		}
	})
}

// Whatever the sequence of changes: what was offered is the integral of the
// rates that were in force, to an event; nothing is handed out before it is
// due or out of order; and everything that is due is handed out.
func TestAnySequenceOfChangesKeepsTheCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anyPlan := func(name string) *Plan {
			p := anyProfile(t)
			p.Scale = to(0.01)
			return compiled(t, p)
		}
		p := Play(anyPlan("first"), 0)
		var handed int64
		var now, tick, last time.Duration
		expected := 0.0
		// pass lets the integral grow by what the present mode asks for.
		pass := func(d time.Duration) {
			for end := now + d; now < end; {
				p.advance(now)
				next := min(end.Truncate(Tick), p.turns())
				if next > tick {
					expected += p.last().totalAt(next) - p.last().totalAt(tick)
					tick = next
				}
				if now = next; next >= end.Truncate(Tick) {
					now = end
				}
				p.advance(now)
			}
		}
		change := func(c Change) {
			var found stage.Problems
			if p.Check(c, now, &found); len(found.Found) > 0 {
				return
			}
			if err := p.Apply(c, now); err != nil {
				t.Fatal(err)
			}
		}
		ttl := func() time.Duration {
			return rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second, time.Minute}).Draw(t, "ttl")
		}
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(*rapid.T) { pass(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "for"))) },
			"take": func(*rapid.T) {
				for _, d := range p.Take(now, rapid.IntRange(1, 2000).Draw(t, "most"), nil) {
					if handed++; d < last || d > tick {
						t.Fatalf("event %d, due at %v, is handed out at %v after one due at %v", handed, d, tick, last)
					}
					last = d
				}
			},
			"profile": func(*rapid.T) { change(Change{Plan: anyPlan("plan"), TTL: ttl()}) },
			"scale":   func(*rapid.T) { change(Change{Scale: to(rapid.Float64Range(0.001, 3).Draw(t, "scale")), TTL: ttl()}) },
			"rate": func(*rapid.T) {
				change(Change{Rate: to(Rate(rapid.Float64Range(0, 10_000).Draw(t, "rate"))), TTL: ttl()})
			},
			"hold":  func(*rapid.T) { change(Change{Hold: to(rapid.Bool().Draw(t, "hold")), TTL: ttl()}) },
			"pause": func(*rapid.T) { change(Change{Pause: to(rapid.Bool().Draw(t, "pause")), TTL: ttl()}) },
			"next":  func(*rapid.T) { change(Change{Next: true, TTL: ttl()}) },
			"": func(*rapid.T) {
				s := p.State(now)
				if s.Counts.Handed != handed {
					t.Fatalf("counts %d handed out, and it was %d", s.Counts.Handed, handed)
				}
				if off := float64(handed+s.Behind) - expected; math.Abs(off) > 1.001+1e-9*expected {
					t.Fatalf("%d handed out and %d owed, the rates in force ask for %v", handed, s.Behind, expected)
				}
			},
		})
		handed += int64(len(take(p, now, 100_000)))
		if off := float64(handed) - expected; math.Abs(off) > 1.001+1e-9*expected {
			t.Fatalf("%d handed out in all, the rates in force ask for %v", handed, expected)
		}
	})
}

func constant(t *testing.T, r Rate, change ...func(*Profile)) *Plan {
	p := Constant(r)
	for _, f := range change {
		f(&p)
	}
	return compiled(t, p)
}

func apply(t *testing.T, p *Player, now time.Duration, c Change) {
	t.Helper()
	var found stage.Problems
	if p.Check(c, now, &found); len(found.Found) > 0 {
		t.Fatalf("%v: %+v", c, found.Found)
	}
	if err := p.Apply(c, now); err != nil {
		t.Fatal(err)
	}
}

func TestASwapOwesNothingAndLosesNothing(t *testing.T) {
	p := Play(constant(t, 1000), 0)
	apply(t, p, 2*time.Second, Change{Plan: constant(t, 5000)})
	if n := len(take(p, 2*time.Second, 1000)); n != 2000 {
		t.Fatalf("%d events were due before the swap, want 2000 still to be handed out", n)
	}
	if n := len(take(p, 2*time.Second+time.Millisecond, 1000)); n != 5 {
		t.Fatalf("%d events in the first millisecond after the swap, want 5", n)
	}
}

func TestManySwapsWithinOneGapDoNotStarveTheLoad(t *testing.T) {
	p := Play(constant(t, 10), 0)
	var n int
	for ms := range 10_000 {
		now := time.Duration(ms) * time.Millisecond
		apply(t, p, now, Change{Plan: constant(t, 10)})
		n += len(take(p, now, 10))
	}
	if n < 99 || n > 101 {
		t.Fatalf("%d events in 10 s at 10/s with a swap each millisecond", n)
	}
	if len(p.legs) > 2 {
		t.Errorf("%d legs are kept", len(p.legs))
	}
}

func TestTooManySwapsOfALoadThatNobodyTakesAreRefused(t *testing.T) {
	p := Play(constant(t, 10_000), 0)
	var err error
	for ms := 0; ms < 5000 && err == nil; ms++ {
		err = p.Apply(Change{Plan: constant(t, 10_000)}, time.Duration(ms)*time.Millisecond)
	}
	if !errors.Is(err, ErrBusy) {
		t.Fatalf("got %v", err)
	}
	if n := len(take(p, 10*time.Second, 1000)); n != 100_000 {
		t.Errorf("%d events were taken afterwards, want 100000", n)
	}
}

func TestHoldPauseNextAndRate(t *testing.T) {
	plan := compiled(t, phases(
		Phase{Name: "climb", For: lasting("10s"), Shape: Shape{Ramp: &Ramp{From: 0, To: 1000}}},
		Phase{Name: "top", Shape: Shape{Constant: to(Rate(1000))}},
	))
	p := Play(plan, 0)
	at := func(s int) State { return p.State(time.Duration(s) * time.Second) }
	apply(t, p, 5*time.Second, Change{Hold: to(true)})
	if s := at(60); s.Rate != 500 || s.Elapsed != 5*time.Second || !s.Held {
		t.Errorf("held: %+v", s)
	}
	apply(t, p, 60*time.Second, Change{Hold: to(false)})
	if s := at(61); s.Rate != 600 || s.Elapsed != 6*time.Second || s.Held {
		t.Errorf("released: %+v", s)
	}
	apply(t, p, 61*time.Second, Change{Pause: to(true)})
	before := at(61).Behind
	if s := at(90); s.Rate != 0 || !s.Paused || s.Behind != before {
		t.Errorf("paused: %+v", s)
	}
	apply(t, p, 90*time.Second, Change{Pause: to(false)})
	if s := at(91); s.Rate != 700 || s.Position.Name != "climb" {
		t.Errorf("resumed: %+v", s)
	}
	apply(t, p, 91*time.Second, Change{Rate: to(Rate(5)), TTL: 10 * time.Second})
	if s := at(95); s.Rate != 5 || !s.Temporary || s.Left != 6*time.Second {
		t.Errorf("for a time: %+v", s)
	}
	if s := at(102); s.Rate != 800 || s.Temporary {
		t.Errorf("after it: %+v", s)
	}
	apply(t, p, 102*time.Second, Change{Next: true})
	if s := at(102); s.Position.Name != "top" || s.Rate != 1000 {
		t.Errorf("in the next phase: %+v", s)
	}
	apply(t, p, 103*time.Second, Change{Scale: to(2.5)})
	if s := at(103); s.Rate != 2500 || s.Scale != 2.5 {
		t.Errorf("scaled: %+v", s)
	}
	var found stage.Problems
	p.Check(Change{Next: true}, 103*time.Second, &found)
	if len(found.Found) != 1 || found.Found[0].Text != "there is no phase after this one" {
		t.Errorf("next of the last phase: %+v", found.Found)
	}
}

func TestAProfileThatEndsGivesWayToTheOneBefore(t *testing.T) {
	short := compiled(t, phases(Phase{For: lasting("10s"), Shape: Shape{Constant: to(Rate(50))}}))
	p := Play(constant(t, 1000), 0)
	take(p, time.Second, 1000)
	apply(t, p, time.Second, Change{Plan: short})
	if n := len(take(p, 11*time.Second, 1000)); n != 500 {
		t.Errorf("%d events of the short profile, want 500", n)
	}
	if n := len(take(p, 12*time.Second, 1000)); n != 1000 {
		t.Errorf("%d events in the second after it, want 1000", n)
	}
	if p.Ended(time.Hour) {
		t.Error("has ended")
	}
}

func TestAChangeForATimeGivesTheProfileBackThatItChanged(t *testing.T) {
	short := compiled(t, phases(Phase{Name: "short", For: lasting("10s"), Shape: Shape{Constant: to(Rate(50))}}))
	p := Play(constant(t, 1000), 0)
	apply(t, p, time.Second, Change{Plan: short})
	apply(t, p, 3*time.Second, Change{Rate: to(Rate(7)), TTL: 5 * time.Second})
	for at, want := range []float64{3: 7, 7: 7, 8: 50, 15: 50, 16: 1000} {
		if got := p.State(time.Duration(at) * time.Second).Rate; want > 0 && got != want {
			t.Errorf("%v/s after %d s, want %v", got, at, want)
		}
	}
	apply(t, p, 20*time.Second, Change{Rate: to(Rate(7)), TTL: 5 * time.Second})
	apply(t, p, 21*time.Second, Change{Hold: to(false)})
	if s := p.State(22 * time.Second); s.Rate != 1000 || s.Temporary {
		t.Errorf("a change that is not for a time leaves %+v", s)
	}
}

func TestWhatIsForATimeComesOffThenWhateverElseIsChangedMeanwhile(t *testing.T) {
	for what, c := range map[string]struct {
		meanwhile []Change // from 1 s on, one each second
		want      State    // after 10 s
	}{
		"nothing":                  {nil, State{Rate: 1000, Scale: 1}},
		"a pause and its end":      {[]Change{{Pause: to(true)}, {Pause: to(false)}}, State{Rate: 1000, Scale: 1}},
		"a pause":                  {[]Change{{Pause: to(true)}}, State{Scale: 1, Paused: true}},
		"another scale":            {[]Change{{Scale: to(2.0)}}, State{Rate: 2000, Scale: 2}},
		"a rate":                   {[]Change{{Rate: to(Rate(7))}}, State{Rate: 7, HeldAt: 7, Scale: 1, Held: true}},
		"a rate and its end":       {[]Change{{Rate: to(Rate(7))}, {Hold: to(false)}}, State{Rate: 1000, HeldAt: 7, Scale: 1}},
		"a rate and its scale":     {[]Change{{Rate: to(Rate(7))}, {Scale: to(3.0)}}, State{Rate: 21, HeldAt: 21, Scale: 3, Held: true}},
		"a hold":                   {[]Change{{Hold: to(true)}}, State{Rate: 10_000, HeldAt: 10_000, Scale: 1, Held: true}},
		"the end of no hold":       {[]Change{{Hold: to(false)}}, State{Rate: 1000, Scale: 1}},
		"a longer scale":           {[]Change{{Scale: to(3.0), TTL: time.Minute}}, State{Rate: 3000, Scale: 3, Temporary: true, Left: 51 * time.Second}},
		"a shorter scale":          {[]Change{{Scale: to(3.0), TTL: time.Second}}, State{Rate: 1000, Scale: 1}},
		"a longer pause":           {[]Change{{Pause: to(true), TTL: time.Minute}}, State{Scale: 1, Paused: true, Temporary: true, Left: 51 * time.Second}},
		"a rate for a longer time": {[]Change{{Rate: to(Rate(7)), TTL: time.Minute}}, State{Rate: 7, HeldAt: 7, Scale: 1, Held: true, Temporary: true, Left: 51 * time.Second}},
		"another profile":          {[]Change{{Plan: constant(t, 50)}}, State{Rate: 50, Scale: 1}},
		"a profile that has ended": {[]Change{{Plan: compiled(t, phases(Phase{For: lasting("1s"), Shape: Shape{Constant: to(Rate(50))}}))}}, State{Rate: 1000, Scale: 1}},
		"a pause within a profile": {[]Change{{Plan: constant(t, 50), TTL: 2 * time.Second}, {Pause: to(true)}}, State{Scale: 1, Paused: true}},
		"a scale within a profile": {[]Change{{Plan: constant(t, 50), TTL: 2 * time.Second}, {Scale: to(4.0)}}, State{Rate: 1000, Scale: 1}},
		"many changes":             {[]Change{{Pause: to(true)}, {Scale: to(2.0), TTL: time.Second}, {Pause: to(false)}}, State{Rate: 1000, Scale: 1}},
	} {
		p := Play(constant(t, 1000), 0)
		apply(t, p, 0, Change{Scale: to(10.0), TTL: 5 * time.Second})
		for i, m := range c.meanwhile {
			apply(t, p, time.Duration(i+1)*time.Second, m)
		}
		got := p.State(10 * time.Second)
		if c.want.Left == 0 {
			c.want.Left = Endless
		}
		if g := (State{Rate: got.Rate, HeldAt: got.HeldAt, Scale: got.Scale, Held: got.Held, Paused: got.Paused, Temporary: got.Temporary, Left: got.Left}); g != c.want {
			t.Errorf("%s: %+v, want %+v", what, g, c.want)
		}
	}
}

func TestWhatIsForATimeGoesOnBesideOthers(t *testing.T) {
	p := Play(constant(t, 1000), 0)
	at := func(s int) State { return p.State(time.Duration(s) * time.Second) }
	apply(t, p, 0, Change{Scale: to(10.0), TTL: time.Minute})
	apply(t, p, time.Second, Change{Pause: to(true), TTL: 5 * time.Second})
	if s := at(5); s.Rate != 0 || s.Left != time.Second {
		t.Errorf("paused: %+v", s)
	}
	if s := at(6); s.Rate != 10_000 || s.Left != 54*time.Second {
		t.Errorf("after the pause: %+v", s)
	}
	apply(t, p, 10*time.Second, Change{Rate: to(Rate(7)), TTL: 5 * time.Second})
	if s := at(15); s.Rate != 10_000 {
		t.Errorf("after the rate: %+v", s)
	}
	apply(t, p, 20*time.Second, Change{Plan: constant(t, 50), TTL: 5 * time.Second})
	if s := at(20); s.Rate != 50 || s.Scale != 1 || !s.Visits || s.Leaves != 5*time.Second {
		t.Errorf("in another profile: %+v", s)
	}
	if s := at(25); s.Rate != 10_000 || s.Left != 35*time.Second || s.Visits {
		t.Errorf("after the profile: %+v", s)
	}
	if s := at(60); s.Rate != 1000 || s.Temporary {
		t.Errorf("in the end: %+v", s)
	}
}

func TestAProfileGoesOnWhereItIsWhenAChangeForATimeComesOff(t *testing.T) {
	plan := compiled(t, phases(
		Phase{Name: "climb", For: lasting("10s"), Shape: Shape{Ramp: &Ramp{From: 0, To: 1000}}},
		Phase{Name: "top", For: lasting("10s"), Shape: Shape{Constant: to(Rate(1000))}},
		Phase{Name: "end", For: lasting("10s"), Shape: Shape{Constant: to(Rate(10))}},
	))
	p := Play(plan, 0)
	at := func(s int) State { return p.State(time.Duration(s) * time.Second) }
	apply(t, p, time.Second, Change{Scale: to(2.0), TTL: 2 * time.Second})
	if s := at(3); s.Elapsed != 3*time.Second || s.Rate != 300 {
		t.Errorf("after a scale: %+v", s)
	}
	apply(t, p, 4*time.Second, Change{Next: true, TTL: 3 * time.Second})
	apply(t, p, 5*time.Second, Change{Scale: to(2.0)})
	if s := at(6); s.Position.Name != "top" || s.Rate != 2000 {
		t.Errorf("in the next phase: %+v", s)
	}
	if s := at(7); s.Elapsed != 4*time.Second || s.Rate != 800 {
		t.Errorf("back from the next phase: %+v", s)
	}
	apply(t, p, 7*time.Second, Change{Next: true, TTL: 3 * time.Second})
	p.State(8 * time.Second)
	if s := at(10); s.Elapsed != 4*time.Second {
		t.Errorf("back again: %+v", s)
	}
	apply(t, p, 11*time.Second, Change{Next: true, TTL: 3 * time.Second})
	apply(t, p, 12*time.Second, Change{Next: true, TTL: 4 * time.Second})
	if s := at(15); s.Position.Name != "end" {
		t.Errorf("in the phase after the next: %+v", s)
	}
	if s := at(16); s.Elapsed != 5*time.Second {
		t.Errorf("back from both: %+v", s)
	}
}

// Whatever lasting changes and changes for a time come in whatever order: once
// the latter are over, the load is as if only the former had been made.
func TestNothingIsLeftOfWhatWasForATime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		with, without := Play(compiled(t, Constant(1000)), 0), Play(compiled(t, Constant(1000)), 0)
		contents := []*written{{hash: "a"}, {hash: "b"}}
		with.Say(contents[0])
		without.Say(contents[0])
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			now += time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "pass"))
			var c Change
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				c.Scale = to(rapid.SampledFrom([]float64{0.5, 2, 10}).Draw(t, "scale"))
			case 1:
				c.Rate = to(Rate(rapid.SampledFrom([]float64{0, 7, 500}).Draw(t, "rate")))
			case 2:
				c.Hold = to(false)
			case 3:
				c.Pause = to(rapid.Bool().Draw(t, "pause"))
			case 4:
				c.Content = rapid.SampledFrom(contents).Draw(t, "content")
			case 5:
				c.Scale, c.Pause = to(rapid.SampledFrom([]float64{1, 3}).Draw(t, "scale")), to(rapid.Bool().Draw(t, "pause"))
			}
			if rapid.Bool().Draw(t, "for a time") {
				c.TTL = time.Duration(rapid.Int64Range(1, int64(10*time.Second)).Draw(t, "ttl"))
			} else {
				without.apply(c, now)
			}
			with.apply(c, now)
			if n := len(with.last().amends); n > 3*40 {
				t.Fatalf("%d changes are remembered", n)
			}
		}
		now += time.Minute
		got, want := with.State(now), without.State(now)
		if got.Temporary || got.Scale != want.Scale || got.Held != want.Held || got.Paused != want.Paused || got.Content != want.Content ||
			math.Abs(got.Rate-want.Rate) > 1e-9*want.Rate || got.Held && math.Abs(got.HeldAt-want.HeldAt) > 1e-9*want.HeldAt {
			t.Fatalf("is %+v, and without what was for a time %+v", got, want)
		}
	})
}

func TestAnHourOfChangesUnderOneForATimeIsForgotten(t *testing.T) {
	p := Play(constant(t, 1000), 0)
	apply(t, p, 0, Change{Pause: to(false), TTL: 2 * time.Hour})
	for s := range 3600 {
		now := time.Duration(s) * time.Second
		apply(t, p, now, []Change{{Scale: to(float64(s%7 + 1))}, {Pause: to(s%2 == 0), TTL: time.Minute}, {Hold: to(true)}, {Hold: to(false)}}[s%4])
		take(p, now, 100_000)
	}
	if n := len(p.last().amends); n > 10 {
		t.Errorf("%d changes are remembered", n)
	}
}

func TestAPlanThatEndsBeforeAChangeForATimeDoesHasEnded(t *testing.T) {
	p := Play(compiled(t, phases(Phase{For: lasting("10s"), Shape: Shape{Constant: to(Rate(50))}})), 0)
	n := len(take(p, 9*time.Second, 1000))
	apply(t, p, 9*time.Second, Change{Scale: to(2.0), TTL: 10 * time.Second})
	if at, ever := p.Wake(); !ever || at <= 9*time.Second || at > 10*time.Second {
		t.Errorf("would wake at %v, %v", at, ever)
	}
	n += len(take(p, 10*time.Second, 1000))
	if n != 450+100 || !p.Ended(10*time.Second) {
		t.Errorf("%d events, want 550; ended: %v", n, p.Ended(10*time.Second))
	}
	if n := len(take(p, time.Minute, 1000)); n != 0 || !p.Ended(time.Minute) {
		t.Errorf("%d events after the end; ended: %v", n, p.Ended(time.Minute))
	}
}

func TestEndsWhenAllOfItWasTaken(t *testing.T) {
	p := Play(compiled(t, phases(Phase{For: lasting("1s"), Shape: Shape{Constant: to(Rate(10))}})), 0)
	if p.Ended(time.Minute) {
		t.Error("has ended with ten events to take")
	}
	if n := len(take(p, time.Minute, 3)); n != 10 || !p.Ended(time.Minute) {
		t.Errorf("%d events; ended: %v", n, p.Ended(time.Minute))
	}
}

func TestLateEvents(t *testing.T) {
	for _, c := range []struct {
		late                   Late
		handed, dropped, known int64 // known: called late
		stretched              time.Duration
	}{
		{Late{}, 10_000, 0, 9990, 0},
		{Late{Policy: catchUp, MaxLag: seconds(4)}, 4001, 5999, 3990, 0},
		{Late{Policy: drop}, 11, 9989, 0, 0},
		{Late{Policy: stretch}, 1, 0, 0, 9999 * time.Millisecond},
	} {
		p := Play(constant(t, 1000, func(p *Profile) { p.Late = c.late }), 0)
		n := int64(len(take(p, 10*time.Second, 1000)))
		got := p.State(10 * time.Second).Counts
		if n != c.handed || got.Handed != c.handed || absolute(got.Dropped-c.dropped) > 1 || absolute(got.Late-c.known) > 1 || got.Stretched != c.stretched {
			t.Errorf("%+v: handed out %d, %+v; want %d, %d late, %d dropped, %v", c.late, n, got, c.handed, c.known, c.dropped, c.stretched)
		}
		if c.late.Policy != stretch && got.Handed+got.Dropped != 10_000 {
			t.Errorf("%+v: %d handed out and %d dropped are not 10000", c.late, got.Handed, got.Dropped)
		}
		if n := len(take(p, 11*time.Second, 1)); n != 1000 && c.late.Policy != stretch && c.late.Policy != drop && c.late.MaxLag == 0 {
			t.Errorf("%+v: %d events in the second after", c.late, n)
		}
	}
}

func absolute(n int64) int64 { return max(n, -n) }

func TestDroppingRandomArrivalsKeepsTheMean(t *testing.T) {
	p := Play(constant(t, 100_000, func(p *Profile) { p.Late, p.Arrivals = Late{Policy: drop}, Arrivals{Kind: poisson} }), 0)
	take(p, 100*time.Second, 1000)
	c := p.State(100 * time.Second).Counts
	if all := float64(c.Handed + c.Dropped); math.Abs(all-1e7) > 5*math.Sqrt(1e7) {
		t.Errorf("%d handed out and %d dropped, want about 1e7", c.Handed, c.Dropped)
	}
}

func TestMaxIsAlwaysDueNow(t *testing.T) {
	p := Play(compiled(t, Max()), 0)
	now := 12345678 * time.Nanosecond
	due := p.Take(now, 500, nil)
	if len(due) != 500 || due[0] != now || due[499] != now {
		t.Fatalf("%d events", len(due))
	}
	apply(t, p, now, Change{Rate: to(Rate(1000))})
	if n := len(take(p, 22*time.Millisecond, 10)); n != 10 {
		t.Errorf("%d events in the 10 ms after a rate was given", n)
	}
	if s := p.State(now); s.Rate != 1000 {
		t.Errorf("%+v", s)
	}
}

func TestAfterWakingSomethingIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile := anyProfile(t)
		profile.Scale = to(0.001)
		profile.Arrivals = rapid.SampledFrom([]Arrivals{{}, {Kind: poisson}, {Gamma: &Gamma{3}}}).Draw(t, "arrivals")
		p := Play(compiled(t, profile), 0)
		now := time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "now"))
		for range 50 {
			take(p, now, 1000)
			at, ever := p.Wake()
			if !ever {
				return
			}
			if p.Ended(now) {
				return
			}
			if at <= now.Truncate(Tick) {
				t.Fatalf("would wake at %v, it is %v", at, now)
			}
			if now = at; len(p.Take(now, 1, nil)) == 0 && !p.Ended(now) {
				t.Fatalf("nothing is due at %v", now)
			}
		}
	})
}

func TestRestartBeginsAnew(t *testing.T) {
	p := Play(constant(t, 1000), 0)
	apply(t, p, time.Second, Change{Rate: to(Rate(7)), TTL: time.Hour})
	p.Restart(time.Minute)
	if n := len(take(p, time.Minute, 10)); n != 0 {
		t.Errorf("owes %d events of before", n)
	}
	if n := len(take(p, time.Minute+time.Second, 10)); n != 1000 {
		t.Errorf("%d events in the first second, want 1000", n)
	}
}

func TestAnEventKnowsThePhaseThatBroughtIt(t *testing.T) {
	second, rate, double := stage.Duration(time.Second), Rate(100), 2.0
	p := Play(Profile{Phases: []Phase{
		{Name: "calm", For: &second, Shape: Shape{Constant: &rate}}, {Name: "peak", For: &second, Shape: Shape{Constant: &rate}},
	}}.Compile(&stage.Problems{}), 0)
	apply(t, p, 500*time.Millisecond, Change{Scale: &double})
	apply(t, p, 2500*time.Millisecond, Change{Plan: constant(t, 100)})
	due, phases := p.TakeWithPhases(3*time.Second, 1000, nil, []string{"before"})
	if len(due) != 50+100+200+50 || phases[0] != "before" {
		t.Fatalf("%d events, %d phases", len(due), len(phases))
	}
	for i, d := range due {
		want := "constant"
		switch {
		case d <= time.Second:
			want = "calm"
		case d <= 2*time.Second:
			want = "peak"
		}
		if phases[i+1] != want {
			t.Errorf("the event at %v is of %s, want %s", d, phases[i+1], want)
		}
	}
}
