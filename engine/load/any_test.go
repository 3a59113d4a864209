package load

import (
	"time"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

func anyRate(t *rapid.T, name string) Rate {
	if rapid.Bool().Draw(t, name+" is round") {
		return Rate(rapid.SampledFrom([]float64{0, 1, 7, 100, 1000, 5000, 100_000, 1e6}).Draw(t, name))
	}
	return Rate(rapid.Float64Range(0, 1e6).Draw(t, name))
}

func anySpan(t *rapid.T, name string) stage.Duration {
	if rapid.Bool().Draw(t, name+" is round") {
		return stage.Duration(rapid.IntRange(1, 120).Draw(t, name)) * stage.Duration(time.Second)
	}
	return stage.Duration(rapid.Int64Range(1e6, 3e11).Draw(t, name))
}

func anyShape(t *rapid.T, sums bool) (s Shape) {
	kinds := []string{"constant", "ramp", "step", "spike", "sine", "on_off"}
	if sums {
		kinds = append(kinds, "sum", "pause")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "shape") {
	case "constant":
		s.Constant = to(anyRate(t, "rate"))
	case "ramp":
		s.Ramp = &Ramp{anyRate(t, "from"), anyRate(t, "to"), rapid.SampledFrom([]string{"", "linear", "quadratic", "ease_out", "smoothstep", "exponential"}).Draw(t, "curve")}
		if s.Ramp.Curve == "exponential" {
			s.Ramp.From, s.Ramp.To = s.Ramp.From+1, s.Ramp.To+1
		}
	case "step":
		s.Step = &Step{From: anyRate(t, "from"), By: anyRate(t, "by") + 1, Every: anySpan(t, "every") + seconds(10)}
		if rapid.Bool().Draw(t, "bounded") {
			s.Step.To = to(s.Step.From + s.Step.By*3/2)
		}
	case "spike":
		s.Spike = &Spike{anyRate(t, "base"), anyRate(t, "peak"), seconds(0.1), seconds(0.2), seconds(0.001), seconds(0.05), 0}
		if rapid.Bool().Draw(t, "again") {
			s.Spike.Every = seconds(0.351) + anySpan(t, "every")
		}
	case "sine":
		mean := anyRate(t, "mean") + 1
		s.Sine = &Sine{mean, Rate(rapid.Float64Range(0, float64(mean)).Draw(t, "amplitude")), anySpan(t, "period"),
			rapid.SampledFrom([]string{"", "peak", "mean_down", "trough"}).Draw(t, "start")}
	case "on_off":
		s.OnOff = &OnOff{anyRate(t, "on") + 1, anyRate(t, "off"), anySpan(t, "on for") + seconds(0.1), anySpan(t, "off for"),
			rapid.SampledFrom([]string{"", "constant", "exponential", "pareto"}).Draw(t, "dist")}
	case "sum":
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			s.Sum = append(s.Sum, anyShape(t, false))
		}
	case "pause":
		s.Pause = to(anySpan(t, "pause"))
	}
	return s
}

// anyProfile is a possible one, with an end or without.
func anyProfile(t *rapid.T) Profile {
	p := Profile{Seed: rapid.Int64Range(0, 99).Draw(t, "seed")}
	n := rapid.IntRange(1, 4).Draw(t, "phases")
	for range n {
		ph := Phase{Shape: anyShape(t, true)}
		if ph.Pause == nil {
			ph.For = to(anySpan(t, "for") + seconds(1))
			if rapid.IntRange(0, 3).Draw(t, "noise") == 0 {
				ph.Noise = to(stage.Percent(rapid.Float64Range(0, 1).Draw(t, "share")))
			}
		}
		p.Phases = append(p.Phases, ph)
	}
	p.Phases = append(p.Phases, Phase{Shape: Shape{Constant: to(anyRate(t, "last") + 1)}})
	if rapid.Bool().Draw(t, "ends") {
		p.Phases[n].For = to(anySpan(t, "for"))
		p.Loop = rapid.SampledFrom([]Loop{0, 1, 3, Forever}).Draw(t, "loop")
	}
	if rapid.IntRange(0, 3).Draw(t, "scaled") == 0 {
		p.Scale = to(rapid.Float64Range(0.01, 100).Draw(t, "scale"))
	}
	return p
}

// anyTime is a time in a plan.
func anyTime(t *rapid.T, p *Plan, name string) time.Duration {
	return time.Duration(rapid.Int64Range(0, min(int64(p.Length()), int64(2*time.Hour))).Draw(t, name))
}
