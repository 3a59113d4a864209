package generator

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anyRate(t *rapid.T) Rate {
	if rapid.Bool().Draw(t, "whole") {
		return Rate(rapid.IntRange(1, 10_000_000).Draw(t, "rate"))
	}
	return Rate(rapid.Float64Range(1e-6, maxRate).Draw(t, "rate"))
}

func anyElapsed(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(30*24*time.Hour)).Draw(t, name))
}

func TestDueIsTheIntegralOfTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, elapsed := schedule{anyRate(t)}, anyElapsed(t, "elapsed")
		exact := new(big.Rat).SetFloat64(float64(s.rate))
		exact.Mul(exact, big.NewRat(int64(elapsed), int64(time.Second)))
		floor := new(big.Int).Quo(exact.Num(), exact.Denom()).Int64()
		if got := s.due(elapsed); got < floor-1 || got > floor+1 {
			t.Fatalf("%v for %v: %d are due, want %d ± 1", s.rate, elapsed, got, floor)
		}
	})
}

func TestDueNeverFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, a, b := schedule{anyRate(t)}, anyElapsed(t, "a"), anyElapsed(t, "b")
		if a, b = min(a, b), max(a, b); s.due(a) > s.due(b) {
			t.Fatalf("%v: %d are due at %v, and %d at %v", s.rate, s.due(a), a, s.due(b), b)
		}
	})
}

func TestAnEventIsDueAtTheFirstMomentThatCountsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schedule{anyRate(t)}
		i := rapid.Int64Range(0, 1e12).Draw(t, "event")
		at := s.at(i)
		if at == never {
			if float64(i+1)/float64(s.rate)*1e9 < float64(never)/2 {
				t.Fatalf("%v: event %d is never due", s.rate, i)
			}
			return
		}
		if s.due(at) <= i || at > 0 && s.due(at-1) > i {
			t.Fatalf("%v: event %d at %v: %d are due then and %d just before", s.rate, i, at, s.due(at), s.due(at-1))
		}
	})
}

func TestWholeRatesMeetTheirTicksExactly(t *testing.T) {
	for _, rate := range []Rate{1, 10, 1000, 10_000, 100_000} {
		for ms := int64(0); ms <= 10_000; ms++ {
			if got, want := (schedule{rate}).due(time.Duration(ms)*time.Millisecond), int64(rate)*ms/1000; got != want {
				t.Fatalf("%v for %d ms: %d are due, want %d", rate, ms, got, want)
			}
		}
	}
}

func TestAtMaxEverythingIsDueAtOnce(t *testing.T) {
	s := schedule{Max}
	if s.due(0) != math.MaxInt64 || s.at(1e15) != 0 {
		t.Fatalf("due %d, event 1e15 at %v", s.due(0), s.at(1e15))
	}
}
