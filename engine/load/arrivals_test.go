package load

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"millrace/engine/stage"
)

// counted is how many events each of some buckets has, over a plan's curve.
func counted(t *testing.T, p Profile, bucket time.Duration, n int) []float64 {
	counts := make([]float64, n)
	player := Play(compiled(t, p), 0)
	for _, d := range take(player, bucket*time.Duration(n), 1000) {
		counts[min(int(d/bucket), n-1)]++
	}
	return counts
}

func meanAndVariance(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	return mean, variance
}

// The seeds are fixed, so these cannot fail by chance; the bounds are five
// standard errors.
func TestRandomGapsHaveTheirMeanAndDispersion(t *testing.T) {
	for _, c := range []struct {
		arrivals Arrivals
		cv       float64
	}{
		{Arrivals{Kind: poisson}, 1},
		{Arrivals{Gamma: &Gamma{0.25}}, 0.25},
		{Arrivals{Gamma: &Gamma{1}}, 1},
		{Arrivals{Gamma: &Gamma{3}}, 3},
		{Arrivals{Gamma: &Gamma{10}}, 10},
	} {
		for seed := range int64(2) {
			t.Run(fmt.Sprintf("cv %v, seed %d", c.cv, seed), func(t *testing.T) {
				const n = 100_000
				g := newGaps(c.arrivals, seed)
				draws := make([]float64, n)
				for i := range draws {
					if draws[i] = g.next(); draws[i] < 0 {
						t.Fatalf("a gap of %v", draws[i])
					}
				}
				mean, variance := meanAndVariance(draws)
				if off := math.Abs(mean - 1); off > 5*c.cv/math.Sqrt(n) {
					t.Errorf("the mean gap is %v, want 1", mean)
				}
				// The variance of a gamma's sample variance is σ⁴(2+6cv²)/n, near enough.
				if off := math.Abs(variance/(c.cv*c.cv) - 1); off > 5*math.Sqrt((2+6*c.cv*c.cv)/n) {
					t.Errorf("the gaps have a cv of %v, want %v", math.Sqrt(variance)/mean, c.cv)
				}
			})
		}
	}
}

func TestPoissonCountsHaveAsMuchVarianceAsMeanAlongAnyCurve(t *testing.T) {
	p := Constant(1000)
	p.Arrivals, p.Seed = Arrivals{Kind: poisson}, 7
	const n = 2000
	mean, variance := meanAndVariance(counted(t, p, 100*time.Millisecond, n))
	if math.Abs(mean-100) > 5*math.Sqrt(100.0/n) || math.Abs(variance/mean-1) > 5*math.Sqrt(2.0/n) {
		t.Errorf("mean %v, dispersion %v, want 100 and 1", mean, variance/mean)
	}
	// Along a ramp, each second has as many as the curve asks for, give or take.
	ramp := Profile{Seed: 3, Arrivals: Arrivals{Kind: poisson}, Phases: []Phase{{For: lasting("1m40s"), Shape: Shape{Ramp: &Ramp{To: 10_000}}}}}
	for second, got := range counted(t, ramp, time.Second, 100) {
		want := 100*float64(second) + 50
		if math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%v events in second %d, want about %v", got, second, want)
		}
	}
}

func TestGammaCountsAreAsBurstyAsAsked(t *testing.T) {
	p := Constant(1000)
	p.Arrivals, p.Seed = Arrivals{Gamma: &Gamma{3}}, 11
	const n = 1000
	mean, variance := meanAndVariance(counted(t, p, time.Second, n))
	// Over many gaps the dispersion of counts is cv².
	if math.Abs(mean-1000) > 5*math.Sqrt(9*1000.0/n) || math.Abs(variance/mean/9-1) > 0.25 {
		t.Errorf("mean %v, dispersion %v, want 1000 and 9", mean, variance/mean)
	}
}

func TestTheSameSeedMakesTheSameArrivals(t *testing.T) {
	p := Constant(1000)
	p.Arrivals = Arrivals{Gamma: &Gamma{2}}
	a := take(Play(compiled(t, p), 0), time.Second, 10)
	b := take(Play(compiled(t, p), 0), time.Second, 1000)
	if !slices.Equal(a, b) {
		t.Error("the same seed makes other arrivals when they are taken in other portions")
	}
	p.Seed = 1
	if slices.Equal(a, take(Play(compiled(t, p), 0), time.Second, 10)) {
		t.Error("another seed makes the same arrivals")
	}
}

func TestJitterStaysNearItsPlace(t *testing.T) {
	p := Constant(1000)
	p.Arrivals = Arrivals{Jitter: to(stage.Percent(0.1))}
	moved := 0
	for i, d := range take(Play(compiled(t, p), 0), time.Second, 1000) {
		off := d - time.Duration(i+1)*time.Millisecond
		if off.Abs() > 50*time.Microsecond+1 {
			t.Fatalf("event %d is %v from its place", i, off)
		}
		if off.Abs() > 5*time.Microsecond {
			moved++
		}
	}
	if moved < 800 {
		t.Errorf("only %d of 1000 events moved", moved)
	}
}
