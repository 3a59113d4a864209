package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A naive log of every grant says what any window holds.
type naive []struct {
	at     time.Duration
	weight int
}

func (n *naive) add(at time.Duration, weight int) {
	*n = append(*n, struct {
		at     time.Duration
		weight int
	}{at, weight})
}

// since is how much was granted after a time.
func (n naive) since(after time.Duration) (sum int) {
	for _, g := range n {
		if g.at > after {
			sum += g.weight
		}
	}
	return sum
}

// mostIn is the most that any half-open window of this length holds. It is
// enough to look at the windows that end at a grant.
func (n naive) mostIn(length time.Duration) (most int) {
	from, sum := 0, 0
	for _, g := range n {
		sum += g.weight
		for n[from].at <= g.at-length {
			sum -= n[from].weight
			from++
		}
		most = max(most, sum)
	}
	return most
}

func TestWindowNeverHoldsMoreThanItsLimitAndFreesWhatIsOld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5000).Draw(t, "limit")
		length := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(10*time.Second)).Draw(t, "length"))
		w := newWindow(limit, length, grains)
		var log naive
		var now time.Duration
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "pause") {
			case 0: // at the same time
			case 1:
				now += time.Duration(rapid.Int64Range(0, int64(w.grain*2)).Draw(t, "grains"))
			case 2:
				now += time.Duration(rapid.Int64Range(0, int64(length/10)).Draw(t, "short"))
			case 3:
				now += time.Duration(rapid.Int64Range(0, int64(length)*2).Draw(t, "long"))
			}
			want := rapid.IntRange(1, 2*limit).Draw(t, "want")
			must := min(want, limit-log.since(now-length-w.grain))
			granted, wait := take(w, now, want)
			if granted > 0 {
				log.add(now, granted)
			}
			if used := log.since(now - length); used > limit {
				t.Fatalf("%d in the window at %v, limit %d", used, now, limit)
			}
			if granted < must {
				t.Fatalf("granted %d of %d at %v although %d are older than the window", granted, want, now, must)
			}
			if (granted < want) != (wait > 0) {
				t.Fatalf("granted %d of %d, but wait is %v", granted, want, wait)
			}
			if wait > 0 {
				now += wait
				if again, _ := take(w, now, 1); again != 1 {
					t.Fatalf("nothing came free after the wait of %v", wait)
				}
				log.add(now, 1)
			}
			if w.charged+w.can(now, limit) != limit {
				t.Fatalf("%d used and %d free of %d", w.charged, w.can(now, limit), limit)
			}
		}
		if most := log.mostIn(length); most > limit {
			t.Fatalf("a window held %d, limit %d", most, limit)
		}
	})
}

func TestWindowIsHalfOpen(t *testing.T) {
	w := newWindow(10, time.Second, grains)
	if n, _ := take(w, 0, 10); n != 10 {
		t.Fatalf("granted %d of the first 10", n)
	}
	if n, wait := take(w, time.Second-1, 1); n != 0 || wait != 1 {
		t.Fatalf("one nanosecond early: granted %d, wait %v", n, wait)
	}
	if n, _ := take(w, time.Second, 10); n != 10 {
		t.Fatalf("after exactly one window: granted %d of 10", n)
	}
}

func TestWindowLogIsBoundedWhateverTheRate(t *testing.T) {
	w := newWindow(1e9, time.Second, grains)
	for now := time.Duration(0); now < 3*time.Second; now += 10 * time.Microsecond {
		take(w, now, 1)
	}
	if w.n > grains+2 || len(w.log) > 8192 {
		t.Errorf("300,000 grants made a log of %d entries in a ring of %d", w.n, len(w.log))
	}
	if w.charged < 100_000 || w.charged > 100_000+100 {
		t.Errorf("the window counts %d of 100,000", w.charged)
	}
}

func TestBucketNeverGrantsMoreThanBurstAndRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, 200_000).Draw(t, "rate")
		burst := rapid.IntRange(1, 5000).Draw(t, "burst")
		least := rapid.Float64Range(0, float64(burst)).Draw(t, "least")
		b := newBucket(rate, burst, least)
		var log naive
		var now time.Duration
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Duration(rapid.Float64Range(0, float64(burst)/rate*1e9*1.5).Draw(t, "pause"))
			want := rapid.IntRange(1, 2*burst).Draw(t, "want")
			granted, wait := take(b, now, want)
			if (granted < want) != (wait > 0) {
				t.Fatalf("granted %d of %d, but wait is %v", granted, want, wait)
			}
			if granted > 0 {
				log.add(now, granted)
			}
			if wait > 0 {
				now += wait
				again, _ := take(b, now, want-granted)
				if again == 0 {
					t.Fatalf("nothing after the wait of %v", wait)
				}
				log.add(now, again)
			}
		}
		for i := range log {
			sum := 0
			for _, g := range log[i:] {
				sum += g.weight
				if most := float64(burst) + rate*(g.at-log[i].at).Seconds() + 2*crumb; float64(sum) > most {
					t.Fatalf("%d events in %v, at most %.3f may pass", sum, g.at-log[i].at, most)
				}
			}
		}
	})
}

func TestBucketFillsAtItsRateUpToBurst(t *testing.T) {
	b := newBucket(100, 200, 1)
	steps := []struct {
		at         time.Duration
		want, take int
	}{
		{0, 500, 200}, // full at first
		{10 * time.Millisecond, 5, 1},
		{time.Second, 500, 99},
		{time.Hour, 500, 200}, // never more than burst
	}
	for _, s := range steps {
		if got, _ := take(b, s.at, s.want); got != s.take {
			t.Errorf("at %v: granted %d, want %d", s.at, got, s.take)
		}
	}
}

func TestBucketDoesNotCutABatchIntoCrumbs(t *testing.T) {
	b := newBucket(1000, 400, 200)
	take(b, 0, 400)
	if n, wait := take(b, 100*time.Millisecond, 300); n != 0 || wait != 100*time.Millisecond {
		t.Errorf("granted %d of 300 with 100 tokens and a wait of %v; want none until half the bucket is there", n, wait)
	}
	if n, _ := take(b, 100*time.Millisecond, 50); n != 50 {
		t.Errorf("granted %d of 50 with 100 tokens", n)
	}
}
