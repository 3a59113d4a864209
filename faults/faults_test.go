//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"millrace/faults/internal/proxy"
)

// state is something a run wants to have seen.
type state string

const (
	breakerOpened state = "breaker opened"
	breakerClosed state = "breaker closed"
	spoolUsed     state = "spool used"
	fellBack      state = "local limits"
	cameTwice     state = "redelivery"
	suppressed    state = "duplicate suppressed"
)

// allStates are what a set of seeds must have seen together.
var allStates = []state{breakerOpened, breakerClosed, spoolUsed, fellBack, cameTwice, suppressed}

// fault is something that goes wrong for a while.
type fault struct {
	what  string
	lasts time.Duration
	begin func() error
	end   func() error
	wants []want // what must be seen before its time begins to run
	calls []state
}

func (f *fault) String() string {
	return fmt.Sprintf("%s for %.1f s", f.what, f.lasts.Seconds())
}

// want is a state that a metric of an engine shows.
type want struct {
	state  state
	metric string
	label  string
}

// victims are what faults happen to.
var victims = []string{"target", "postgres", "redis", "engine", "source"}

// schedule is what a seed makes of it: rounds of faults that happen together.
type schedule struct {
	engines int
	rate    int
	rounds  [][]*fault
}

func (s *schedule) String() string {
	var rounds []string
	for _, r := range s.rounds {
		var names []string
		for _, f := range r {
			names = append(names, f.String())
		}
		rounds = append(rounds, strings.Join(names, " + "))
	}
	return fmt.Sprintf("%d engines, %d ev/s: %s", s.engines, s.rate, strings.Join(rounds, "; "))
}

// calls are the states that the faults call for.
func (s *schedule) calls() []state {
	var all []state
	for _, r := range s.rounds {
		for _, f := range r {
			all = append(all, f.calls...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// plan draws the engines and the load of a seed; the faults are drawn when
// there is a lab for them to happen in.
func plan(random *rand.Rand) *schedule {
	return &schedule{engines: 1 + random.IntN(2), rate: 200 + random.IntN(600)}
}

// draw draws three or four rounds. Each has a main fault, whose states are waited
// for, and mostly a second one elsewhere that does not keep the load from it.
func (s *schedule) draw(random *rand.Rand, l *lab) {
	besides := map[string][]string{
		"target": {"redis", "postgres", "engine"}, "postgres": {"redis", "engine"}, "redis": {"postgres", "engine"},
		"engine": {"target", "postgres", "redis", "source"}, "source": {"target", "postgres", "redis", "engine"},
	}
	order := random.Perm(len(victims))
	for _, i := range order[:3+random.IntN(2)] {
		round := []*fault{l.fault(random, victims[i], true)}
		if random.IntN(3) > 0 {
			others := besides[victims[i]]
			round = append(round, l.fault(random, others[random.IntN(len(others))], false))
		}
		s.rounds = append(s.rounds, round)
	}
}

// fault draws one; a main fault is one that takes its victim away.
func (l *lab) fault(random *rand.Rand, victim string, main bool) *fault {
	f := &fault{lasts: time.Second + time.Duration(random.Int64N(int64(4*time.Second)))}
	switch victim {
	case "engine":
		l.engineFault(f, random, main)
		return f
	case "source":
		l.serviceFault(f, random, l.site.source, main)
	case "target":
		l.serviceFault(f, random, l.site.target, main)
		f.wants = []want{{breakerOpened, "circuit_breaker_state", `route="ingest"`}, {spoolUsed, "millrace_spool_events", `route="ingest"`}}
	case "postgres":
		l.serviceFault(f, random, l.site.postgres, main)
		f.wants = []want{{breakerOpened, "circuit_breaker_state", `route="audit"`}, {spoolUsed, "millrace_spool_events", `route="audit"`}}
	case "redis":
		l.serviceFault(f, random, l.site.redis, main)
		f.wants = []want{{fellBack, "limiter_mode", `mode="local"`}}
	}
	if !main {
		f.wants = nil
	}
	for _, w := range f.wants {
		f.calls = append(f.calls, w.state)
		if w.state == breakerOpened {
			f.calls = append(f.calls, breakerClosed)
		}
	}
	return f
}

// serviceFault draws what happens to a service.
func (l *lab) serviceFault(f *fault, random *rand.Rand, x *service, main bool) {
	name := x.Name()
	network := func(m proxy.Mode) {
		f.what = fmt.Sprintf("%s: %v", name, m)
		f.begin = func() error { return x.Set(m) }
		f.end = func() error { return x.Set(proxy.Pass) }
	}
	n := 7
	if !main {
		n++
	}
	switch random.IntN(n) {
	case 0, 1:
		f.what, f.begin, f.end = "kill -9 "+name, x.Kill, x.Start
	case 2:
		f.what, f.begin, f.end = "stop "+name, x.Stop, x.Start
	case 3:
		f.what = "freeze " + name
		f.begin = func() error { x.Freeze(); return nil }
		f.end = func() error { x.Resume(); return nil }
	case 4:
		network(proxy.Cut)
	case 5:
		network(proxy.Refuse)
	case 6:
		network(proxy.BlackHole)
	default:
		network(proxy.Slow(time.Duration(random.Int64N(int64(200*time.Millisecond))), time.Duration(random.Int64N(int64(300*time.Millisecond)))))
	}
}

// engineFault kills an engine at whatever moment it is, or freezes it, for
// longer than its group waits for it in some cases.
func (l *lab) engineFault(f *fault, random *rand.Rand, main bool) {
	e := l.engines[random.IntN(len(l.engines))]
	if main || random.IntN(2) == 0 {
		f.lasts /= 2
		f.what = "kill -9 " + e.name
		f.begin = func() error { e.kill(); return nil }
		f.end = func() error { e.start(); return nil }
		f.calls = []state{cameTwice, suppressed}
		return
	}
	f.lasts *= 3
	f.what = "freeze " + e.name
	f.begin = func() error { e.signal(syscall.SIGSTOP); e.frozen = true; return nil }
	f.end = func() error { e.signal(syscall.SIGCONT); e.frozen = false; return nil }
}
