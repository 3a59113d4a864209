package circuit

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a breaker that remembers everything and computes each answer anew.
type model struct {
	rules
	state   State
	began   time.Duration
	era     int
	opened  int      // times since it was closed last
	trials  int      // permits taken in this half-open era
	results []result // Opened keeps those of the state before
	trial   bool     // results are those of a half-open breaker
}

type result struct {
	at           time.Duration
	failed, slow bool
}

func (m *model) enter(s State, now time.Duration) {
	from := m.state
	m.state, m.era, m.trials, m.began = s, m.era+1, 0, now
	switch s {
	case Opened, ForcedOpen:
		m.opened++
	case Closed, Disabled, MetricsOnly:
		m.opened = 0
	}
	if s == Opened && from != Disabled && from != ForcedOpen {
		return // the results stay to be seen
	}
	m.results, m.trial = nil, s == HalfOpen
}

// openFor is the wait of an open breaker, in whole milliseconds.
func (m *model) openFor() time.Duration {
	ms := float64(m.open.first / time.Millisecond)
	for range m.opened - 1 {
		ms = math.Floor(ms * m.open.multiplier)
	}
	if m.open.multiplier > 1 {
		ms = min(ms, float64(m.open.most/time.Millisecond))
	}
	return time.Duration(ms) * time.Millisecond
}

// due is when the model changes by itself; false: never.
func (m *model) due() (time.Duration, bool) {
	switch {
	case m.state == Opened && m.automatic:
		return m.began + m.openFor(), true
	case m.state == HalfOpen && m.halfOpenFor > 0:
		return m.began + m.halfOpenFor, true
	}
	return 0, false
}

func (m *model) tick(now time.Duration) {
	switch at, ok := m.due(); {
	case !ok || now < at:
	case m.state == Opened:
		m.enter(HalfOpen, now)
	default:
		m.enter(m.halfOpenThen, now)
	}
}

func (m *model) acquire(now time.Duration) bool {
	if m.state == Opened && now > m.began+m.openFor() {
		m.enter(HalfOpen, now)
	}
	switch m.state {
	case HalfOpen:
		if m.trials >= m.halfOpenCalls {
			return false
		}
		m.trials++
		return true
	default:
		return m.state != Opened && m.state != ForcedOpen
	}
}

// inWindow is which results count now, and how many there must be.
func (m *model) inWindow(now time.Duration) (seen []result, minimum int) {
	switch {
	case m.trial:
		return m.results, min(m.minCalls, m.halfOpenCalls)
	case m.window.Span == 0:
		return m.results[max(0, len(m.results)-m.window.Calls):], min(m.minCalls, m.window.Calls)
	}
	for _, r := range m.results {
		if r.at.Truncate(time.Second)+m.window.Span > now {
			seen = append(seen, r)
		}
	}
	return seen, m.minCalls
}

func (m *model) rates(now time.Duration) (failure, slow float32, failures int) {
	seen, minimum := m.inWindow(now)
	slows := 0
	for _, r := range seen {
		if r.failed {
			failures++
		}
		if r.slow {
			slows++
		}
	}
	if len(seen) < minimum || len(seen) == 0 {
		return -1, -1, failures
	}
	n := float64(len(seen))
	return float32(float64(failures) * 100 / n), float32(float64(slows) * 100 / n), failures
}

// inARow is how many of the last results failed, back to the last that did not.
func (m *model) inARow() (n int) {
	for i := len(m.results) - 1; i >= 0 && m.results[i].failed; i-- {
		n++
	}
	return n
}

func (m *model) record(now time.Duration, r result) {
	if m.state == Disabled {
		return
	}
	m.results = append(m.results, r)
	failure, slow, failures := m.rates(now)
	bad := failure >= 0 && (m.failureRate > 0 && failure >= m.failureRate || slow >= m.slowRate)
	switch m.state {
	case HalfOpen:
		switch {
		case failure < 0:
		case failure >= m.trialRate || slow >= m.slowRate:
			m.enter(Opened, now)
		default:
			m.enter(Closed, now)
		}
	case Closed:
		if bad || m.failures > 0 && failures >= m.failures || m.consecutive > 0 && m.inARow() >= m.consecutive {
			m.enter(Opened, now)
		}
	}
}

// call is one that was let through and has not ended.
type call struct {
	permit Permit
	era    int
	at     time.Duration
}

func drawRules(t *rapid.T) rules {
	r := rules{
		slowRate:      float32(rapid.IntRange(1, 100).Draw(t, "slow rate")),
		slow:          time.Duration(rapid.IntRange(1, 5000).Draw(t, "slow")) * time.Millisecond,
		trialRate:     float32(rapid.IntRange(1, 100).Draw(t, "trial rate")),
		minCalls:      rapid.IntRange(1, 12).Draw(t, "min calls"),
		halfOpenCalls: rapid.IntRange(1, 8).Draw(t, "half-open calls"),
		halfOpenFor:   time.Duration(rapid.SampledFrom([]int{0, 700, 3000}).Draw(t, "half-open for")) * time.Millisecond,
		halfOpenThen:  rapid.SampledFrom([]State{Opened, Closed}).Draw(t, "half-open then"),
		automatic:     rapid.Bool().Draw(t, "automatic"),
		failureRate:   float32(rapid.IntRange(0, 100).Draw(t, "failure rate")),
		failures:      rapid.IntRange(0, 6).Draw(t, "failures"),
		consecutive:   rapid.IntRange(0, 6).Draw(t, "consecutive failures"),
		open: openWait{
			first:      time.Duration(rapid.IntRange(1, 10_000).Draw(t, "open for")) * time.Millisecond,
			multiplier: rapid.SampledFrom([]float64{1, 1.1, 1.5, 2, 7}).Draw(t, "open multiplier"),
		},
	}
	r.open.most = r.open.first + time.Duration(rapid.IntRange(0, 20_000).Draw(t, "open max"))*time.Millisecond
	if rapid.Bool().Draw(t, "time window") {
		r.window.Span = time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second
	} else {
		r.window.Calls = rapid.IntRange(1, 10).Draw(t, "calls")
	}
	return r
}

func TestMachineBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		now := time.Duration(0)
		told := Closed // the state that notices led to
		m := newMachine(r, func(n notice) {
			if n.from != told || n.kind == changed && !legal[n.from][n.to] {
				t.Fatalf("told of %v to %v, but it was %v", n.from, n.to, told)
			}
			told = n.to
		})
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
				until := now + time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms"))*time.Millisecond
				if wait := o.began + o.openFor(); o.state == Opened && rapid.Bool().Draw(t, "to the end of the wait") {
					until = max(now, wait)
				}
				for {
					at, ok := m.due()
					if wantAt, want := o.due(); ok != want || ok && at != wantAt {
						t.Fatalf("due at %v (%v), the model says %v (%v)", at, ok, wantAt, want)
					}
					if !ok || at > until {
						break
					}
					now = at
					m.tick(now)
					o.tick(now)
				}
				now = until
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
				m.record(now, c.permit, failed)
				if c.era == o.era {
					o.record(now, result{now, failed, now-c.at > r.slow})
				}
			},
			"call is given up": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip("none runs")
				}
				c := pick()
				m.release(c.permit)
				if c.era == o.era && o.state == HalfOpen {
					o.trials--
				}
			},
			"somebody interferes": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
					return
				}
				if s := State(rapid.IntRange(0, numStates-1).Draw(t, "state")); m.to(now, s) == nil {
					o.enter(s, now)
				} else if legal[o.state][s] {
					t.Fatalf("did not go from %v to %v", o.state, s)
				}
			},
			"": func(t *rapid.T) {
				if m.state != o.state || told != o.state || m.attempts != o.opened {
					t.Fatalf("state %v, told %v, opened %d times; the model: %v, %d times", m.state, told, m.attempts, o.state, o.opened)
				}
				f, s, _ := m.rates(now)
				wf, ws, _ := o.rates(now)
				if f != wf || s != ws {
					t.Fatalf("rates %v and %v, the model has %v and %v", f, s, wf, ws)
				}
				if o.state == HalfOpen && m.permits != r.halfOpenCalls-o.trials {
					t.Fatalf("%d permits left, the model has %d", m.permits, r.halfOpenCalls-o.trials)
				}
			},
		})
	})
}
