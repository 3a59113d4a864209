package breaker

import (
	"fmt"
	"time"
)

// state is what a breaker is in. The numbers are Resilience4j's.
type state uint8

const (
	closed      state = iota // all calls pass, results are counted
	opened                   // no call passes, until the wait is over
	halfOpen                 // so many calls pass as a trial
	disabled                 // all calls pass, nothing is counted
	forcedOpen               // no call passes, until somebody says otherwise
	metricsOnly              // all calls pass, results are counted, nothing opens
	numStates   = int(metricsOnly) + 1
)

var stateNames = [numStates]string{"closed", "open", "half_open", "disabled", "forced_open", "metrics_only"}

func (s state) String() string { return stateNames[s] }

// legal says from which state (row) to which (column) a breaker may go. Going
// where one is already changes nothing.
var legal = [numStates][numStates]bool{
	closed:      {opened: true, disabled: true, forcedOpen: true, metricsOnly: true},
	opened:      {closed: true, halfOpen: true, disabled: true, forcedOpen: true, metricsOnly: true},
	halfOpen:    {closed: true, opened: true, disabled: true, forcedOpen: true, metricsOnly: true},
	disabled:    {closed: true, opened: true, halfOpen: true, forcedOpen: true, metricsOnly: true},
	forcedOpen:  {closed: true, opened: true, halfOpen: true, disabled: true, metricsOnly: true},
	metricsOnly: {closed: true, disabled: true, forcedOpen: true},
}

// rules are the numbers a machine works by.
type rules struct {
	failureRate   float32 // percent, from which on it opens
	slowRate      float32 // percent, from which on it opens
	slow          time.Duration
	window        Window
	minCalls      int
	openFor       time.Duration
	halfOpenCalls int
}

// permit lets one call pass. Its generation tells results of an older state
// from those that count.
type permit struct {
	generation uint64
	at         time.Duration // when it was granted
}

// notice is something that a machine's owner may want to tell people.
type notice struct {
	kind                  noticeKind
	from, to              state // the same, unless kind is changed
	failureRate, slowRate float32
	calls                 int
}

type noticeKind uint8

const (
	changed noticeKind = iota
	failureRateExceeded
	slowRateExceeded
)

// machine is the circuit breaker itself, after Resilience4j's: plain
// arithmetic on the times it is told. It reads no clock and takes no lock;
// times must not fall. Unlike its model it drops the results of calls that
// began in an older state, which would otherwise pass for trials.
type machine struct {
	rules
	notify func(notice)

	state      state
	generation uint64 // raised by each change of state
	seen       tally  // of this state; opened keeps that of the state before
	minimum    int    // results that seen must hold before there is a rate
	permits    int    // left in halfOpen
	until      time.Duration
	attempts   int // times it opened since it was closed last
	published  [2]bool
}

func newMachine(r rules, notify func(notice)) *machine {
	m := &machine{rules: r, notify: notify}
	m.begin(0, closed)
	return m
}

// acquire asks for a call to pass. An open breaker whose wait is over turns
// half-open here.
func (m *machine) acquire(now time.Duration) (permit, bool) {
	m.tick(now)
	switch m.state {
	case opened, forcedOpen:
		return permit{}, false
	case halfOpen:
		if m.permits == 0 {
			return permit{}, false
		}
		m.permits--
	}
	return permit{m.generation, now}, true
}

// tick turns an open breaker half-open when its wait is over. Without
// automatic transition, acquire is the only one to call it.
func (m *machine) tick(now time.Duration) {
	if m.state == opened && now >= m.until {
		m.change(now, halfOpen)
	}
}

// wait is how long it takes, by time alone, until acquire may say yes; 0 when
// only a result or a person can bring that about.
func (m *machine) wait(now time.Duration) time.Duration {
	if m.state != opened {
		return 0
	}
	return max(1, m.until-now)
}

// release gives a permit back unused, for a call that says nothing about the
// dependency. It reports whether another call may have the permit now.
func (m *machine) release(p permit) bool {
	if m.state != halfOpen || p.generation != m.generation {
		return false
	}
	m.permits++
	return true
}

// record takes the result of a permitted call.
func (m *machine) record(now time.Duration, p permit, failed bool) {
	if p.generation != m.generation || m.state == disabled {
		return
	}
	m.seen.record(now, failed, now-p.at > m.slow)
	failure, slow, calls := m.rates(now)
	if calls < m.minimum {
		return
	}
	tooManyFailed, tooManySlow := failure >= m.failureRate, slow >= m.slowRate
	if tooManyFailed {
		m.exceeded(failureRateExceeded, now)
	}
	if tooManySlow {
		m.exceeded(slowRateExceeded, now)
	}
	switch {
	case m.state == metricsOnly:
	case tooManyFailed || tooManySlow:
		m.change(now, opened)
	case m.state == halfOpen:
		m.change(now, closed)
	}
}

// exceeded tells, once per state, that a threshold is reached.
func (m *machine) exceeded(kind noticeKind, now time.Duration) {
	if published := &m.published[kind-failureRateExceeded]; !*published {
		*published = true
		failure, slow, calls := m.rates(now)
		m.notify(notice{kind, m.state, m.state, failure, slow, calls})
	}
}

// rates are in percent, -1 while there are too few results.
func (m *machine) rates(now time.Duration) (failure, slow float32, calls int) {
	t := m.seen.totals(now)
	if t.calls == 0 || t.calls < m.minimum {
		return -1, -1, t.calls
	}
	n := float32(t.calls)
	return float32(t.failed) * 100 / n, float32(t.slow) * 100 / n, t.calls
}

// to changes the state by hand.
func (m *machine) to(now time.Duration, s state) error {
	if s == m.state {
		return nil
	}
	if !legal[m.state][s] {
		return fmt.Errorf("a breaker cannot go from %v to %v", m.state, s)
	}
	m.change(now, s)
	return nil
}

// reset closes the breaker from any state and forgets all results.
func (m *machine) reset(now time.Duration) {
	if m.state != closed {
		m.change(now, closed)
		return
	}
	m.begin(now, closed)
}

func (m *machine) change(now time.Duration, s state) {
	from := m.state
	failure, slow, calls := m.rates(now)
	m.begin(now, s)
	m.notify(notice{changed, from, s, failure, slow, calls})
}

// begin sets up a state.
func (m *machine) begin(now time.Duration, s state) {
	m.state = s
	m.generation++
	m.published = [2]bool{}
	switch s {
	case closed, metricsOnly:
		m.attempts = 0
		m.seen, m.minimum = m.window.tally(now), m.minCalls
		if m.window.Span == 0 {
			m.minimum = min(m.minCalls, m.window.Calls)
		}
	case opened:
		m.attempts++
		m.until = now + m.openFor
	case halfOpen:
		m.permits = m.halfOpenCalls
		m.seen, m.minimum = newLastCalls(m.halfOpenCalls), min(m.minCalls, m.halfOpenCalls)
	case disabled:
		m.attempts = 0
		m.seen, m.minimum = newLastCalls(1), 1
	case forcedOpen:
		m.attempts++
		m.seen, m.minimum = newLastCalls(1), 1
	}
}
