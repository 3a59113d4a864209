package load

import (
	"math"
	"testing"
	"time"

	"millrace/engine/stage"
)

func onOff(dist string) Phase {
	return Phase{Shape: Shape{OnOff: &OnOff{On: 1000, Off: 100, OnFor: seconds(5), OffFor: seconds(15), Dist: dist}}}
}

// lengths are how long a plan is at one rate, one after the other.
func lengths(p *Plan) (on, off []float64) {
	body := p.curve.(repeated).body.(*chain)
	for i, part := range body.parts {
		if i%2 == 0 {
			on = append(on, part.length()/second)
		} else {
			off = append(off, part.length()/second)
		}
	}
	return on, off
}

func moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}

func TestPeriodsAreAsLongAsTheirDistribution(t *testing.T) {
	var exponential, pareto [2][]float64
	for seed := range int64(40) { // of 256 periods each
		for dist, into := range map[string]*[2][]float64{"exponential": &exponential, "pareto": &pareto} {
			p := phases(onOff(dist))
			p.Seed = seed
			on, off := lengths(compiled(t, p))
			if len(on) != cycles || len(off) != cycles {
				t.Fatalf("%d and %d periods", len(on), len(off))
			}
			into[0], into[1] = append(into[0], on...), append(into[1], off...)
		}
	}
	for i, want := range []float64{5, 15} {
		mean, deviation := moments(exponential[i])
		if math.Abs(mean-want) > want*0.05 || math.Abs(deviation-want) > want*0.1 {
			t.Errorf("exponential: mean %v, deviation %v, want both to be %v", mean, deviation, want)
		}
		mean, deviation = moments(pareto[i])
		least := want * (paretoShape - 1) / paretoShape
		short := 0
		for _, v := range pareto[i] {
			if v < least*0.999 {
				t.Errorf("pareto: a period of %v, none can be below %v", v, least)
			}
			if v < want {
				short++
			}
		}
		if mean < want*0.75 || mean > want*1.5 || deviation < 1.5*want || float64(short)/float64(len(pareto[i])) < 0.75 {
			t.Errorf("pareto: mean %v, deviation %v, %d of %d below the mean of %v", mean, deviation, short, len(pareto[i]), want)
		}
	}
}

func TestPeriodsAreDrawnFromTheSeedAlone(t *testing.T) {
	one := compiled(t, phases(onOff("exponential")))
	if again := compiled(t, phases(onOff("exponential"))); again.Total(time.Hour) != one.Total(time.Hour) || again.Hash() != one.Hash() {
		t.Error("the same profile is another curve")
	}
	other := phases(onOff("exponential"))
	other.Seed = 1
	if compiled(t, other).Total(time.Hour) == one.Total(time.Hour) {
		t.Error("another seed is the same curve")
	}
	two := phases(Phase{Shape: Shape{Sum: []Shape{onOff("pareto").Shape, onOff("pareto").Shape}}, For: lasting("1h")})
	single := phases(Phase{Shape: onOff("pareto").Shape, For: lasting("1h")})
	if compiled(t, two).Total(time.Hour) == 2*compiled(t, single).Total(time.Hour) {
		t.Error("two shapes of a sum switch at the same time")
	}
	steady := compiled(t, phases(onOff("")))
	if named := compiled(t, phases(onOff("constant"))); named.Total(time.Hour) != steady.Total(time.Hour) {
		t.Error("constant is not the default")
	}
}

func TestPeriodsThatCannotBe(t *testing.T) {
	var found stage.Problems
	if p := phases(onOff("normal")).Compile(&found); p != nil || len(found.Found) != 1 || found.Found[0].Key != "phases.0.on_off.dist" {
		t.Errorf("%+v", found.Found)
	}
	found = stage.Problems{}
	many := Phase{For: lasting("24h"), Shape: Shape{OnOff: &OnOff{On: 1, OnFor: 1000, OffFor: 1000, Dist: "pareto"}}}
	if p := phases(many).Compile(&found); p != nil || len(found.Found) != 1 || found.Found[0].Key != "phases.0.on_off.on_for" {
		t.Errorf("%+v", found.Found)
	}
}
