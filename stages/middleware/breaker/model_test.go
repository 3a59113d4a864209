package breaker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a breaker that remembers everything and computes each answer anew.
type model struct {
	rules
	state   state
	opened  time.Duration
	era     int
	trials  int      // permits taken in this half-open era
	results []result // opened keeps those of the state before
}

type result struct {
	at           time.Duration
	failed, slow bool
}

func (m *model) enter(s state, now time.Duration) {
	m.state, m.era, m.trials = s, m.era+1, 0
	if s == opened {
		m.opened = now
		return
	}
	m.results = nil
}

func (m *model) acquire(now time.Duration) bool {
	if m.state == opened && now-m.opened >= m.openFor {
		m.enter(halfOpen, now)
	}
	switch m.state {
	case halfOpen:
		if m.trials >= m.halfOpenCalls {
			return false
		}
		m.trials++
		return true
	default:
		return m.state != opened && m.state != forcedOpen
	}
}

// window is which results count now, and how many there must be; trials says
// that they are those of a half-open breaker.
func (m *model) window(now time.Duration, trials bool) (seen []result, minimum int) {
	switch {
	case trials:
		return m.results, min(m.minCalls, m.halfOpenCalls)
	case m.rules.window.Span == 0:
		return m.results[max(0, len(m.results)-m.rules.window.Calls):], min(m.minCalls, m.rules.window.Calls)
	}
	for _, r := range m.results {
		if r.at.Truncate(time.Second)+m.rules.window.Span > now {
			seen = append(seen, r)
		}
	}
	return seen, m.minCalls
}

func (m *model) rates(now time.Duration, trials bool) (failure, slow float64, enough bool) {
	seen, minimum := m.window(now, trials)
	if len(seen) < minimum || len(seen) == 0 {
		return -1, -1, false
	}
	for _, r := range seen {
		if r.failed {
			failure += 100
		}
		if r.slow {
			slow += 100
		}
	}
	return failure / float64(len(seen)), slow / float64(len(seen)), true
}

func (m *model) record(now time.Duration, r result) {
	if m.state == disabled {
		return
	}
	m.results = append(m.results, r)
	failure, slow, enough := m.rates(now, m.state == halfOpen)
	if !enough || m.state == metricsOnly {
		return
	}
	if failure >= float64(m.failureRate) || slow >= float64(m.slowRate) {
		m.enter(opened, now)
	} else if m.state == halfOpen {
		m.enter(closed, now)
	}
}

// call is one that was let through and has not ended.
type call struct {
	permit permit
	era    int
	at     time.Duration
}

func TestMachineBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules{
			failureRate:   float32(rapid.IntRange(1, 100).Draw(t, "failure rate")),
			slowRate:      float32(rapid.IntRange(1, 100).Draw(t, "slow rate")),
			slow:          time.Duration(rapid.IntRange(1, 5000).Draw(t, "slow")) * time.Millisecond,
			minCalls:      rapid.IntRange(1, 12).Draw(t, "min calls"),
			openFor:       time.Duration(rapid.IntRange(1, 10_000).Draw(t, "open for")) * time.Millisecond,
			halfOpenCalls: rapid.IntRange(1, 8).Draw(t, "half-open calls"),
		}
		if rapid.Bool().Draw(t, "time window") {
			r.window.Span = time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second
		} else {
			r.window.Calls = rapid.IntRange(1, 10).Draw(t, "calls")
		}
		now := time.Duration(0)
		fromTrials := false // where an open breaker's results are from
		m := newMachine(r, func(notice) {})
		o := &model{rules: r}
		var running []call
		pick := func() call {
			i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
			c := running[i]
			running = append(running[:i], running[i+1:]...)
			return c
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond
			},
			"call begins": func(t *rapid.T) {
				p, ok := m.acquire(now)
				if want := o.acquire(now); ok != want {
					t.Fatalf("permitted: %v, the model says %v", ok, want)
				}
				if ok {
					running = append(running, call{p, o.era, now})
				}
			},
			"call ends": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip("none runs")
				}
				c, failed := pick(), rapid.Bool().Draw(t, "failed")
				before, trials := o.era, o.state == halfOpen
				m.record(now, c.permit, failed)
				if c.era == o.era {
					o.record(now, result{now, failed, now-c.at > r.slow})
				}
				if o.era != before && o.state == opened {
					fromTrials = trials
				}
			},
			"call is given up": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip("none runs")
				}
				c := pick()
				m.release(c.permit)
				if c.era == o.era && o.state == halfOpen {
					o.trials--
				}
			},
			"somebody interferes": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
					return
				}
				s := state(rapid.IntRange(0, numStates-1).Draw(t, "state"))
				if m.to(now, s) == nil && o.state != s {
					fromTrials = s == opened && o.state == halfOpen
					if s == opened && (o.state == disabled || o.state == forcedOpen) {
						o.results = nil
					}
					o.enter(s, now)
				}
			},
			"": func(t *rapid.T) {
				if m.state != o.state {
					t.Fatalf("state %v, the model is in %v", m.state, o.state)
				}
				f, s, _ := m.rates(now)
				wf, ws, _ := o.rates(now, o.state == halfOpen || o.state == opened && fromTrials)
				if f != float32(wf) || s != float32(ws) {
					t.Fatalf("rates %v and %v, the model has %v and %v", f, s, wf, ws)
				}
				if o.state == halfOpen && m.permits != r.halfOpenCalls-o.trials {
					t.Fatalf("%d permits left, the model has %d", m.permits, r.halfOpenCalls-o.trials)
				}
			},
		})
	})
}
