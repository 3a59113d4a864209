package load

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/engine/stage"
)

func wrongTrace(t *testing.T, text string) Profile {
	name := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return phases(Phase{Shape: Shape{Trace: &Trace{File: stage.Path(name)}}})
}

func TestProblemsNameKeyRuleAndValue(t *testing.T) {
	one := func(s Shape) Profile { return phases(Phase{For: lasting("1m"), Shape: s}) }
	steady := Phase{Shape: Shape{Constant: to(Rate(10))}}
	with := func(change func(*Profile)) Profile {
		p := phases(steady)
		change(&p)
		return p
	}
	ramp := func(from, to Rate, curve string) Profile { return one(Shape{Ramp: &Ramp{from, to, curve}}) }
	for _, c := range []struct {
		profile   Profile
		key, text string
	}{
		{Profile{}, "phases", "must have at least one phase, such as {constant: 5k/s}, got none"},
		{phases(Phase{}), "phases.0", "must have one shape of constant, ramp, step, spike, sine, on_off, trace, sum and pause, got none"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(1)), Pause: lasting("1s")}}), "phases.0", "got 2: constant, pause"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(-5))}}), "phases.0.constant", "must be at least 0, got -5/s"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(math.NaN()))}}), "phases.0.constant", "must be at least 0, got NaN/s"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(2e9))}}), "phases.0.constant", "must be at most 1G/s, got 2G/s"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(math.Inf(1)))}}), "phases.0.constant", "must be at most 1G/s"},
		{phases(Phase{Shape: Shape{Constant: to(Rate(0))}}), "phases.0", "offers nothing for ever: give it a rate above 0, or a length"},
		{phases(Phase{Shape: Shape{Pause: lasting("1m")}}), "phases", "offer nothing at all: at least one needs a rate above 0"},
		{phases(Phase{Shape: Shape{Pause: lasting("0s")}}), "phases.0.pause", "must be above 0, got 0s"},
		{phases(Phase{For: lasting("1m"), Shape: Shape{Pause: lasting("1m")}}), "phases.0.for", "has no place beside pause"},
		{phases(Phase{For: lasting("-1m"), Shape: steady.Shape}), "phases.0.for", "must be above 0, got -1m0s"},
		{phases(Phase{For: lasting("100000d"), Shape: steady.Shape}), "phases.0.for", "must be at most 73000d, got 100000d"},
		{phases(steady, steady), "phases.0.for", "is required: a phase that others follow needs a length"},
		{phases(Phase{For: lasting("1m"), Noise: to(stage.Percent(1.5)), Shape: steady.Shape}), "phases.0.noise", "must be from 0% to 100%, got 150%"},
		{phases(Phase{Shape: Shape{Ramp: &Ramp{To: 5}}}), "phases.0.for", "is required: a ramp needs a length"},
		{ramp(1, 5, "cubic"), "phases.0.ramp.curve", `must be one of [linear quadratic ease_out smoothstep exponential], got "cubic"`},
		{ramp(0, 5, "exponential"), "phases.0.ramp.curve", "exponential cannot begin or end at 0"},
		{ramp(-1, 5, ""), "phases.0.ramp.from", "must be at least 0, got -1/s"},
		{one(Shape{Step: &Step{From: 5, Every: seconds(1)}}), "phases.0.step.by", "must not be 0, got 0/s"},
		{one(Shape{Step: &Step{From: 5, By: 5}}), "phases.0.step.every", "must be above 0, got 0s"},
		{one(Shape{Step: &Step{From: 5, By: 5, To: to(Rate(1)), Every: seconds(1)}}), "phases.0.step.by", "must lead from 5/s to 1/s, got 5/s"},
		{one(Shape{Step: &Step{From: 5, By: -5, Every: seconds(1)}}), "phases.0.step.by", "must be at least 0, got -5/s"},
		{one(Shape{Step: &Step{From: 5, By: 1e-6, Every: 1}}), "phases.0.step.every", "makes more than 100000 stairs, got 1ns"},
		{phases(Phase{Shape: Shape{Step: &Step{From: 5, By: 5, Every: seconds(1)}}}), "phases.0.for", "is required: a staircase without `to:` needs a length"},
		{one(Shape{Spike: &Spike{Peak: 5}}), "phases.0.spike.hold", "is required: a spike takes some time"},
		{one(Shape{Spike: &Spike{Peak: 5, Hold: seconds(100)}}), "phases.0.spike", "takes 1m40s, longer than its phase"},
		{one(Shape{Spike: &Spike{Peak: 5, Hold: seconds(2), Every: seconds(1)}}), "phases.0.spike.every", "must be at least 2s"},
		{one(Shape{Spike: &Spike{Peak: 5, Hold: seconds(2), Rise: seconds(-1)}}), "phases.0.spike.rise", "must be at least 0s, got -1s"},
		{one(Shape{Sine: &Sine{Mean: 5, Amplitude: 6, Period: seconds(60)}}), "phases.0.sine.amplitude", "must be at most the mean of 5/s, since no rate is below 0, got 6/s"},
		{one(Shape{Sine: &Sine{Mean: 5, Amplitude: 5}}), "phases.0.sine.period", "must be at least 1ms, got 0s"},
		{one(Shape{Sine: &Sine{Period: seconds(1)}}), "phases.0.sine.mean", "must be above 0, got 0/s"},
		{one(Shape{Sine: &Sine{Mean: 5, Period: seconds(1), Start: "dawn"}}), "phases.0.sine.start", `got "dawn"`},
		{one(Shape{OnOff: &OnOff{On: 5, OffFor: seconds(1)}}), "phases.0.on_off.on_for", "must be above 0, got 0s"},
		{one(Shape{Sum: []Shape{}}), "phases.0.sum", "must have at least one shape, got none"},
		{one(Shape{Sum: []Shape{{Pause: lasting("1s")}}}), "phases.0.sum.0", "sum and pause cannot"},
		{one(Shape{Sum: []Shape{{Constant: to(Rate(-1))}}}), "phases.0.sum.0.constant", "must be at least 0"},
		{one(Shape{Sum: []Shape{{Constant: to(Rate(8e8))}, {Constant: to(Rate(8e8))}}}), "phases", "add up to 1.6G/s at their highest, the most is 1G/s"},
		{with(func(p *Profile) { p.Loop = Forever }), "loop", "repeats phases that have no end: give phases.0 a length"},
		{with(func(p *Profile) { p.Loop = -7 }), "loop", "must be true, false or at least 1, got -7"},
		{with(func(p *Profile) { p.Scale = to(0.0) }), "scale", "must be above 0 and at most 1e9, got 0"},
		{with(func(p *Profile) { p.Scale = to(math.NaN()) }), "scale", "got NaN"},
		{with(func(p *Profile) { p.Scale = to(1e9) }), "phases.0.constant", "must be at most 1G/s once it is scaled by 1e+09, got 10/s"},
		{with(func(p *Profile) { p.Arrivals = Arrivals{Gamma: &Gamma{-1}} }), "arrivals.gamma.cv", "must be from 0.01 to 10, got -1"},
		{with(func(p *Profile) { p.Arrivals = Arrivals{Jitter: to(stage.Percent(2))} }), "arrivals.jitter", "must be from 0% to 100%, got 200%"},
		{with(func(p *Profile) { p.Arrivals = Arrivals{Gamma: &Gamma{1}, Jitter: to(stage.Percent(1))} }), "arrivals", "got 2 of them"},
		{with(func(p *Profile) { p.Late.Policy = "hope" }), "late.policy", `must be one of [catch_up drop stretch], got "hope"`},
		{with(func(p *Profile) { p.Late.MaxLag = 5 }), "late.max_lag", "must be at least 2ms"},
		{with(func(p *Profile) { p.Model.Closed = &Closed{} }), "model.closed.workers", "must be from 1 to 100000, got 0"},
		{with(func(p *Profile) { p.Model.Closed = &Closed{1, -1} }), "model.closed.think", "must be at least 0s, got -1ns"},
		{phases(Phase{Shape: Shape{Trace: &Trace{}}}), "phases.0.trace.file", "is required: name a CSV file"},
		{phases(Phase{Shape: Shape{Trace: &Trace{File: "no/such.csv"}}}), "phases.0.trace.file", "no/such.csv cannot be read: no such file or directory"},
		{phases(Phase{Shape: Shape{Trace: &Trace{File: "."}}}), "phases.0.trace.file", "cannot be read: is a directory"},
		{wrongTrace(t, ""), "phases.0.trace.file", "is empty"},
		{wrongTrace(t, "time,value\n1,2\n"), "phases.0.trace.file", `has no column "timestamp" in its header; time: and value: name the columns`},
		{wrongTrace(t, "timestamp,value\n1,2\n"), "phases.0.trace.file", "needs two lines"},
		{wrongTrace(t, "timestamp,value\n2,2\n1,2\n"), "phases.0.trace.file", "line 3: times must rise, and this one is not after the one before"},
		{wrongTrace(t, "timestamp,value\n1,2\n2,-2\n"), "phases.0.trace.file", "line 3: the count must be a number from 0 to 1e15"},
		{wrongTrace(t, "timestamp,value\n1,2\nnoon,2\n"), "phases.0.trace.file", `line 3: the time must be`},
		{wrongTrace(t, "timestamp,value\n1,2\n2\n"), "phases.0.trace.file", "line 3 has 1 columns, fewer than the header"},
		{wrongTrace(t, "timestamp,value\n1,0\n2,0\n"), "phases", "offer nothing at all"},
		{wrongTrace(t, "timestamp,value\n1,1e14\n2,0\n"), "phases.0.trace", "goes over 1G/s at line 2"},
	} {
		var found stage.Problems
		if plan := c.profile.Compile(&found); plan != nil {
			t.Errorf("%s: made a plan", c.profile.JSON())
			continue
		}
		f := found.Found[0]
		if f.Key != c.key || !strings.Contains(f.Text, c.text) {
			t.Errorf("problem %q: %s; want %q: %s", f.Key, f.Text, c.key, c.text)
		}
	}
}

func TestAllProblemsAreFoundAtOnce(t *testing.T) {
	p := phases(Phase{Shape: Shape{Constant: to(Rate(-1))}}, Phase{Shape: Shape{Sine: &Sine{}}})
	p.Scale, p.Late.Policy = to(-1.0), "hope"
	var found stage.Problems
	if p.Compile(&found); len(found.Found) != 5 {
		t.Errorf("%d problems: %+v", len(found.Found), found.Found)
	}
}

func TestATraceIsReplayedFasterAndLarger(t *testing.T) {
	p := wrongTrace(t, "\ufefftimestamp,other,value\n2026-01-01 00:00:00,x,300\n2026-01-01 00:05:00,x,600\n2026-01-01 00:10:00,x,0\n")
	p.Phases[0].Trace.Speed, p.Phases[0].Trace.Scale = to(300.0), to(10.0)
	plan := compiled(t, p)
	if plan.Length() != 3*time.Second || plan.Total(3*time.Second) != 9000 || plan.Total(time.Second) != 3000 || plan.Rate(1500*time.Millisecond) != 6000 {
		t.Errorf("%v long, %v events, %v in the first second, %v/s in the second", plan.Length(), plan.Total(3*time.Second), plan.Total(time.Second), plan.Rate(1500*time.Millisecond))
	}
	p.Phases[0].For = lasting("5s") // again from its beginning
	if plan = compiled(t, p); plan.Length() != 5*time.Second || plan.Total(4*time.Second) != 12000 {
		t.Errorf("%v long, %v events after 4s", plan.Length(), plan.Total(4*time.Second))
	}
}

func TestTheHashNamesTheProfileAndItsTraces(t *testing.T) {
	p := wrongTrace(t, "timestamp,value\n1,1\n2,1\n")
	before := compiled(t, p).Hash()
	if err := os.WriteFile(string(p.Phases[0].Trace.File), []byte("timestamp,value\n1,1\n2,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := compiled(t, p).Hash(); after == before || len(after) != 12 {
		t.Errorf("hash %s before and %s after the trace changed", before, after)
	}
	first, again := compiled(t, Constant(5)).Hash(), compiled(t, Constant(5)).Hash()
	if first != again || first == compiled(t, Constant(6)).Hash() {
		t.Error("hashes of constants")
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("timestamp,value\n2014-04-10 00:04:00,94.0\n2014-04-10 00:09:00,56.0\n")
	f.Add("timestamp,value\n1,2\n\"3\n")
	f.Fuzz(func(t *testing.T, text string) {
		points, err := ReadTrace(strings.NewReader(text), "timestamp", "value")
		for i, p := range points {
			if err == nil && (!(p.Count >= 0) || p.At < 0 || i > 0 && p.At <= points[i-1].At) {
				t.Fatalf("point %d is %+v after %+v", i, p, points[i-1])
			}
		}
	})
}
