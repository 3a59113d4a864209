package load

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

// slack is what rounding may add to an integral of this size.
func slack(h float64) float64 { return 1e-9 * math.Max(1, math.Abs(h)) }

func TestTheIntegralNeverFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := compiled(t, anyProfile(t))
		a, b := anyTime(t, p, "a"), anyTime(t, p, "b")
		if a, b = min(a, b), max(a, b); p.Total(a) > p.Total(b)+slack(p.Total(b)) {
			t.Fatalf("%v events at %v, and %v at %v", p.Total(a), a, p.Total(b), b)
		}
		if c := a + 1; p.Total(a) > p.Total(c)+slack(p.Total(c)) {
			t.Fatalf("%v events at %v, and %v a nanosecond later", p.Total(a), a, p.Total(c))
		}
	})
}

func TestTheIntegralIsThatOfTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := compiled(t, anyProfile(t))
		from := anyTime(t, p, "from")
		until := min(from+time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "long")), p.Length())
		// Simpson's rule over pieces so short that steps between rates add little.
		const pieces = 2000
		sum, top := 0.0, 0.0
		step := float64(until-from) / pieces
		at := func(x float64) float64 {
			return p.curve.rate(min(float64(from)+x, math.Nextafter(p.curve.length(), 0)))
		}
		for i := range pieces {
			x := float64(i) * step
			a, m, b := at(x), at(x+step/2), at(x+step)
			sum += (a + 4*m + b) / 6 * step / 1e9
			top = max(top, a, b)
		}
		got := p.Total(until) - p.Total(from)
		if off := math.Abs(got - sum); off > 100*top*step/1e9+slack(p.Total(until))+1e-6*sum {
			t.Fatalf("from %v to %v: H grows by %v, the rate says %v", from, until, got, sum)
		}
	})
}

func TestTheInverseIsTheFirstNanosecondWithSoManyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := compiled(t, anyProfile(t))
		all := p.Total(anyTime(t, p, "within"))
		h := rapid.Float64Range(0, 1).Draw(t, "share") * all
		if rapid.Bool().Draw(t, "whole") {
			h = math.Floor(h)
		}
		at := p.When(h)
		if at == Endless {
			t.Fatalf("%v of %v events are never due", h, all)
		}
		if p.Total(at) < h {
			t.Fatalf("%v events are said to be due at %v, and it is %v", h, at, p.Total(at))
		}
		if at > 0 && p.Total(at-1) >= h {
			t.Fatalf("%v events are said to be due at %v, and already were a nanosecond before", h, at)
		}
	})
}

func TestPhasesJoinWithoutAGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := compiled(t, anyProfile(t))
		var at time.Duration
		for i := 0; ; i++ {
			pos := p.Position(at)
			if pos.Phase != i%p.Phases() || pos.Elapsed != 0 || pos.Ended {
				t.Fatalf("phase %d begins at %v, which is %+v", i, at, pos)
			}
			next, more := p.Next(at)
			if !more || i > 10 {
				break
			}
			before, after := p.Total(next-1), p.Total(next+1)
			most := 2e-9*math.Max(p.Rate(next-2), p.Rate(next+1))*4 + 2*slack(after)
			if after-before > most || after < before-slack(after) {
				t.Fatalf("%v events a nanosecond before %v and %v after: at most %v are between", before, next, after, most)
			}
			at = next
		}
	})
}

func TestConstantRatesMeetTheirTicksExactly(t *testing.T) {
	for _, rate := range []Rate{1, 10, 1000, 10_000, 100_000, 1e6} {
		p := compiled(t, Constant(rate))
		for ms := int64(0); ms <= 10_000; ms++ {
			if got, want := int64(p.Total(time.Duration(ms)*time.Millisecond)), int64(rate)*ms/1000; got != want {
				t.Fatalf("%v for %d ms: %d events, want %d", rate, ms, got, want)
			}
		}
	}
}

func TestTheIntegralOfAConstantIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, ns := rapid.Float64Range(1e-6, 1e9).Draw(t, "rate"), rapid.Int64Range(0, int64(720*time.Hour)).Draw(t, "ns")
		exact := new(big.Rat).SetFloat64(rate)
		exact.Mul(exact, big.NewRat(ns, 1e9))
		floor := new(big.Int).Quo(exact.Num(), exact.Denom()).Int64()
		if got := int64(compiled(t, Constant(Rate(rate))).Total(time.Duration(ns))); got < floor-1 || got > floor+1 {
			t.Fatalf("%d events, want %d ± 1", got, floor)
		}
	})
}

func TestShapes(t *testing.T) {
	type at struct {
		second, rate, total float64
	}
	for _, c := range []struct {
		name  string
		phase Phase
		want  []at
	}{
		{"linear ramp", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{From: 100, To: 300}}},
			[]at{{0, 100, 0}, {5, 200, 750}, {9.999999999, 300, 2000}}},
		{"linear ramp down", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{From: 300, To: 100}}},
			[]at{{0, 300, 0}, {5, 200, 1250}, {9.999999999, 100, 2000}}},
		{"quadratic ramp", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{To: 300, Curve: "quadratic"}}},
			[]at{{5, 75, 125}, {9.999999999, 300, 1000}}},
		{"ramp that eases out", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{To: 300, Curve: "ease_out"}}},
			[]at{{5, 225, 625}, {9.999999999, 300, 2000}}},
		{"smoothstep", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{To: 300, Curve: "smoothstep"}}},
			[]at{{5, 150, 281.25}, {9.999999999, 300, 1500}}},
		{"exponential ramp", Phase{For: lasting("10s"), Shape: Shape{Ramp: &Ramp{From: 10, To: 1000, Curve: "exponential"}}},
			[]at{{0, 10, 0}, {5, 100, 90 / math.Log(100) * 10}, {9.999999999, 1000, 990 / math.Log(100) * 10}}},
		{"stairs", Phase{For: lasting("30s"), Shape: Shape{Step: &Step{From: 10, By: 5, Every: seconds(10)}}},
			[]at{{5, 10, 50}, {10, 15, 100}, {25, 20, 350}}},
		{"stairs down to a floor", Phase{For: lasting("1m"), Shape: Shape{Step: &Step{From: 100, By: -40, Every: seconds(10), To: to(Rate(30))}}},
			[]at{{5, 100, 500}, {15, 60, 1300}, {25, 30, 1750}, {55, 30, 2650}}},
		{"spike", Phase{For: lasting("1m"), Shape: Shape{Spike: &Spike{Base: 10, Peak: 110, After: seconds(10), Rise: seconds(2), Hold: seconds(5), Fall: seconds(4)}}},
			[]at{{5, 10, 50}, {11, 60, 135}, {13, 110, 330}, {19, 60, 940}, {40, 10, 100 + 120 + 550 + 240 + 190}}},
		{"spike again and again", Phase{Shape: Shape{Spike: &Spike{Peak: 100, Hold: seconds(1), Every: seconds(10)}}},
			[]at{{0.5, 100, 50}, {5, 0, 100}, {30.5, 100, 350}}},
		{"sine", Phase{Shape: Shape{Sine: &Sine{Mean: 100, Amplitude: 50, Period: seconds(60)}}},
			[]at{{0, 100, 0}, {15, 150, 1500 + 50*60/(2*math.Pi)}, {45, 50, 4500 + 50*60/(2*math.Pi)}, {60, 100, 6000}, {3600, 100, 360000}}},
		{"sine from its trough", Phase{Shape: Shape{Sine: &Sine{Mean: 100, Amplitude: 100, Period: seconds(60), Start: "trough"}}},
			[]at{{0, 0, 0}, {30, 200, 3000}, {60, 0, 6000}}},
		{"on and off", Phase{Shape: Shape{OnOff: &OnOff{On: 50, Off: 5, OnFor: seconds(10), OffFor: seconds(20)}}},
			[]at{{5, 50, 250}, {15, 5, 525}, {35, 50, 850}}},
		{"sum", Phase{Shape: Shape{Sum: []Shape{{Constant: to(Rate(10))}, {OnOff: &OnOff{On: 50, OnFor: seconds(10), OffFor: seconds(20)}}}}},
			[]at{{5, 60, 300}, {15, 10, 650}, {35, 60, 350 + 850 - 100}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compiled(t, phases(c.phase))
			for _, w := range c.want {
				now := time.Duration(math.Round(w.second * 1e9))
				if got := p.Rate(now); math.Abs(got-w.rate) > 1e-4 {
					t.Errorf("rate at %v: %v, want %v", now, got, w.rate)
				}
				if got := p.Total(now); math.Abs(got-w.total) > 1e-4 {
					t.Errorf("events at %v: %v, want %v", now, got, w.total)
				}
			}
		})
	}
}

func TestNoiseMovesTheRateAndKeepsTheCount(t *testing.T) {
	plain := Phase{For: lasting("1m"), Shape: Shape{Constant: to(Rate(1000))}}
	noisy := plain
	noisy.Noise = to(stage.Percent(0.2))
	p := compiled(t, phases(noisy))
	moved := 0
	for s := range 60 {
		r := p.Rate(time.Duration(s)*time.Second + time.Second/2)
		if r < 1000*0.8/1.2 || r > 1000*1.2/0.8 {
			t.Errorf("rate %v in second %d, want it within 20%% of 1000, of a mean that may be off by as much", r, s)
		}
		if math.Abs(r-1000) > 10 {
			moved++
		}
	}
	if moved < 40 {
		t.Errorf("the rate moved in %d of 60 seconds only", moved)
	}
	for s := 0; s <= 60; s += 10 {
		if got := p.Total(time.Duration(s) * time.Second); math.Abs(got-float64(1000*s)) > 1e-6 {
			t.Errorf("%v events after %d s, want %d", got, s, 1000*s)
		}
	}
	other := compiled(t, Profile{Phases: []Phase{noisy}, Seed: 5})
	if other.Rate(time.Second/2) == p.Rate(time.Second/2) {
		t.Error("another seed makes the same noise")
	}
}

func TestLoopsCountTheirRounds(t *testing.T) {
	p := compiled(t, Profile{Loop: 3, Phases: []Phase{
		{Name: "busy", For: lasting("10s"), Shape: Shape{Constant: to(Rate(10))}},
		{For: lasting("5s"), Measure: to(false), Shape: Shape{Constant: to(Rate(2))}},
	}})
	if p.Length() != 45*time.Second || p.Total(p.Length()) != 330 {
		t.Errorf("lasts %v with %v events, want 45s with 330", p.Length(), p.Total(p.Length()))
	}
	for at, want := range map[time.Duration]Position{
		0:                {Phase: 0, Name: "busy", Left: 10 * time.Second, Measure: true},
		27 * time.Second: {Phase: 1, Name: "constant", Round: 1, Elapsed: 2 * time.Second, Left: 3 * time.Second},
		45 * time.Second: {Phase: 1, Name: "constant", Round: 2, Elapsed: 5 * time.Second, Ended: true},
	} {
		if got := p.Position(at); got != want {
			t.Errorf("at %v: %+v, want %+v", at, got, want)
		}
	}
	if endless := compiled(t, Profile{Loop: Forever, Phases: p.Profile.Phases}); endless.Length() != Endless || endless.Total(time.Hour) != 26400 {
		t.Errorf("for ever: %v, %v events in an hour", endless.Length(), endless.Total(time.Hour))
	}
}
