package load

import (
	"testing"
	"time"

	"millrace/engine/stage"
)

// BenchmarkTake is the cost of saying when an event is due, at a million per
// second in parcels of a tick. One operation is one event.
func BenchmarkTake(b *testing.B) {
	million := to(Rate(1e6))
	wave := &Sine{Mean: 1e6, Amplitude: 5e5, Period: seconds(60)}
	for _, c := range []struct {
		name     string
		phase    Phase
		arrivals Arrivals
	}{
		{"constant", Phase{Shape: Shape{Constant: million}}, Arrivals{}},
		{"constant, poisson", Phase{Shape: Shape{Constant: million}}, Arrivals{Kind: poisson}},
		{"constant, gamma", Phase{Shape: Shape{Constant: million}}, Arrivals{Gamma: &Gamma{3}}},
		{"constant, noise", Phase{Shape: Shape{Constant: million}, Noise: to(stage.Percent(0.1))}, Arrivals{}},
		{"ramp", Phase{For: lasting("1d"), Shape: Shape{Ramp: &Ramp{From: 1e6, To: 1.1e6}}}, Arrivals{}},
		{"smoothstep", Phase{For: lasting("1d"), Shape: Shape{Ramp: &Ramp{From: 1e6, To: 1.1e6, Curve: "smoothstep"}}}, Arrivals{}},
		{"sine", Phase{Shape: Shape{Sine: wave}}, Arrivals{}},
		{"sine, noise", Phase{Shape: Shape{Sine: wave}, Noise: to(stage.Percent(0.1))}, Arrivals{}},
		{"sum", Phase{Shape: Shape{Sum: []Shape{{Constant: million}, {Sine: wave}}}}, Arrivals{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var found stage.Problems
			plan := Profile{Phases: []Phase{c.phase}, Arrivals: c.arrivals}.Compile(&found)
			if plan == nil {
				b.Fatal(found.Found)
			}
			p := Play(plan, 0)
			due := make([]time.Duration, 0, 4096)
			b.ReportAllocs()
			for n, now := 0, time.Duration(0); n < b.N; {
				if due = p.Take(now, cap(due), due[:0]); len(due) < cap(due) {
					now += Tick
				}
				n += len(due)
			}
		})
	}
}
