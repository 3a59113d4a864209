//go:build faults

package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fullSet is from how many seeds on a set must have seen every state.
const fullSet = 4

// TestSeeds runs random schedules of faults: SEEDS of them (20), or the one
// that SEED names.
func TestSeeds(t *testing.T) {
	seeds := chosen(t)
	s := theSite(t)
	seen := map[state]int{}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer s.restore(loud{t})
			r := &seedRun{t: loud{t}, seed: seed, seen: map[state]bool{}}
			r.run(s)
			for st := range r.seen {
				seen[st]++
			}
		})
	}
	for _, st := range allStates {
		if len(seeds) >= fullSet && seen[st] == 0 {
			t.Errorf("none of the %d seeds has seen: %s; the set does not count", len(seeds), st)
		}
	}
	var all []string
	for _, st := range allStates {
		all = append(all, fmt.Sprintf("%s in %d", st, seen[st]))
	}
	report("%d seeds: %s", len(seeds), strings.Join(all, ", "))
}

// chosen reads SEED and SEEDS.
func chosen(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED must be a whole number, got %q", text)
		}
		return []uint64{seed}
	}
	n := 20
	if text := os.Getenv("SEEDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("SEEDS must be a whole number above 0, got %q", text)
		}
	}
	var seeds []uint64
	for i := range n {
		seeds = append(seeds, uint64(i+1))
	}
	return seeds
}

// seedRun is the run of one seed.
type seedRun struct {
	*lab
	t        testing.TB
	seed     uint64
	random   *rand.Rand
	schedule *schedule
	seen     map[state]bool
}

func (r *seedRun) run(s *site) {
	r.random = rand.New(rand.NewPCG(r.seed*0x9e3779b97f4a7c15, r.seed)) // nearby seeds begin alike otherwise
	r.schedule = plan(r.random)
	r.lab = newLab(r.t, s, r.seed, r.schedule.engines)
	r.schedule.draw(r.random, r.lab)
	r.t.Cleanup(func() {
		if r.t.Failed() {
			report("FAILED seed %d: %v; once more: make test-faults RUN=TestSeeds SEED=%d", r.seed, r.schedule, r.seed)
		}
	})

	r.start()
	r.feeder.start(r.schedule.rate)
	r.flows(r.schedule.rate)
	for _, round := range r.schedule.rounds {
		r.round(round)
		r.noteDuplicates()
	}
	r.finish()
	r.closed()
	r.settle()
	f := r.judge()
	if f.topic.Duplicates > 0 {
		r.seen[cameTwice] = true
	}
	if r.schedule.engines == 1 {
		r.inOrder()
	}
	r.counts(f.table.Obligations)
}

// round lets faults happen together. The main one goes on until what it calls for
// was seen, and then for as long as was drawn, with the others in that time.
func (r *seedRun) round(faults []*fault) {
	r.t.Helper()
	r.noteDuplicates()
	main := faults[0]
	must(r.t, main.begin())
	for _, w := range main.wants {
		if !comesTrue(eventually, func() bool { return r.lab.seen(1, w.metric, w.label) }) {
			r.t.Errorf("during %q this was not seen within %v: %s", main.what, eventually, w.state)
			continue
		}
		r.seen[w.state] = true
	}
	began := time.Now()
	for _, other := range faults[1:] {
		pause(time.Duration(r.random.Int64N(int64(time.Second))))
		must(r.t, other.begin())
		pause(other.lasts)
		must(r.t, other.end())
	}
	pause(main.lasts - time.Since(began))
	must(r.t, main.end())
	pause(500*time.Millisecond + time.Duration(r.random.Int64N(int64(time.Second))))
}

// closed waits until all breakers are closed again.
func (r *seedRun) closed() {
	r.t.Helper()
	for _, route := range []string{"ingest", "audit"} {
		await(r.t, eventually, "the breaker of "+route+" closes", func() bool {
			return !r.lab.seen(1, "circuit_breaker_state", `route="`+route+`"`)
		})
	}
	if r.seen[breakerOpened] {
		r.seen[breakerClosed] = true
	}
}

// settle is the end of the faults.
func (r *seedRun) settle() {
	r.t.Helper()
	r.caughtUp()
	r.noteDuplicates()
	r.stopped()
}

// noteDuplicates asks the engines whether their table has refused rows that it
// had.
func (r *seedRun) noteDuplicates() {
	if r.lab.seen(1, "sql_rows_duplicate_total", `route="audit"`) {
		r.seen[cameTwice], r.seen[suppressed] = true, true
	}
}

// counts wants to have seen what the faults call for.
func (r *seedRun) counts(obligations int) {
	for _, st := range r.schedule.calls() {
		if !r.seen[st] {
			r.t.Errorf("the run does not count: its faults call for this, and it was not seen: %s", st)
		}
	}
	if r.t.Failed() {
		return
	}
	var seen []string
	for _, st := range slices.Sorted(maps.Keys(r.seen)) {
		seen = append(seen, string(st))
	}
	report("ok seed %d: %v: %d obligations; seen: %s; %.0f s",
		r.seed, r.schedule, obligations, strings.Join(seen, ", "), time.Since(r.began).Seconds())
}
