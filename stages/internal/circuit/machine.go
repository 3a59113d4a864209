package circuit

import (
	"fmt"
	"time"
)

// State is what a breaker is in. The numbers are Resilience4j's.
type State uint8

// The states.
const (
	Closed      State = iota // all calls pass, results are counted
	Opened                   // no call passes, until the wait is over
	HalfOpen                 // so many calls pass as a trial
	Disabled                 // all calls pass, nothing is counted
	ForcedOpen               // no call passes, until somebody says otherwise
	MetricsOnly              // all calls pass, results are counted, nothing opens
	numStates   = int(MetricsOnly) + 1
)

var stateNames = [numStates]string{"closed", "open", "half_open", "disabled", "forced_open", "metrics_only"}

// String is the state's name in lower_snake_case.
func (s State) String() string { return stateNames[s] }

// legal says from which state (row) to which (column) a breaker may go. Going
// where one is already begins that state anew, and is told to nobody.
var legal = [numStates][numStates]bool{
	Closed:      {Closed: true, Opened: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
	Opened:      {Closed: true, Opened: true, HalfOpen: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
	HalfOpen:    {Closed: true, Opened: true, HalfOpen: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
	Disabled:    {Closed: true, Opened: true, HalfOpen: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
	ForcedOpen:  {Closed: true, Opened: true, HalfOpen: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
	MetricsOnly: {Closed: true, Disabled: true, ForcedOpen: true, MetricsOnly: true},
}

// rules are the numbers a machine works by.
type rules struct {
	failureRate   float32 // percent, from which on a closed breaker opens; 0: whatever it is
	trialRate     float32 // percent, from which on a half-open breaker opens again
	slowRate      float32 // percent, from which on it opens
	slow          time.Duration
	failures      int // in the window, from which on a closed breaker opens; 0: however many
	consecutive   int // the same for failures without a success between them
	window        Window
	minCalls      int
	open          openWait
	halfOpenCalls int
	halfOpenFor   time.Duration // 0: for ever
	halfOpenThen  State
	automatic     bool // open turns half-open by itself
}

// Permit lets one call pass. Its generation tells results of an older state
// from those that count.
type Permit struct {
	generation uint64
	at         time.Duration // when it was granted
}

// notice is something that a machine's owner may want to tell people.
type notice struct {
	kind                  noticeKind
	from, to              State  // the same, unless kind is changed
	why                   string // of a change: one of the reasons
	failureRate, slowRate float32
	calls                 int
}

type noticeKind uint8

const (
	changed noticeKind = iota
	failureRateExceeded
	slowRateExceeded
	failuresExceeded
	consecutiveExceeded
	numExceeded = int(consecutiveExceeded)
)

// The reasons for a change of state, as told in logs and webhooks.
const (
	whyWaitOver   = "open_for is over"
	whyTrialsGood = "the trials went well"
	whyTrialsBad  = "the trials failed"
	whyTrialsSlow = "the trials were slow"
	whyTrialsLate = "half_open_for is over"
	whyByHand     = "by hand"
	whyNot        = ""
)

var whyExceeded = [numExceeded + 1]string{
	failureRateExceeded: "too large a share of calls failed",
	slowRateExceeded:    "too large a share of calls was slow",
	failuresExceeded:    "too many calls failed",
	consecutiveExceeded: "too many calls failed one after the other",
}

// machine is the circuit breaker itself, after Resilience4j's: plain
// arithmetic on the times it is told. It reads no clock and takes no lock;
// times must not fall. Unlike its model it drops the results of calls that
// began in an older state, which would otherwise pass for trials.
type machine struct {
	rules
	notify func(notice)

	state      State
	generation uint64 // raised whenever a state begins
	since      time.Duration
	seen       tally  // of this state; Opened keeps that of the state before
	refused    uint64 // calls that got no permit, for as long as seen
	streak     int    // failures since the last success
	minimum    int    // results that seen must hold before there is a rate
	permits    int    // left in HalfOpen
	until      time.Duration
	attempts   int // times it opened since it was closed last
	published  [numExceeded + 1]bool
}

func newMachine(r rules, notify func(notice)) *machine {
	m := &machine{rules: r, notify: notify}
	m.begin(0, Closed)
	return m
}

// acquire asks for a call to pass. An open breaker whose wait is over turns
// half-open here. Resilience4j lets a call through only after the instant at
// which the wait is over.
func (m *machine) acquire(now time.Duration) (Permit, bool) {
	m.tick(now)
	if m.state == Opened && now > m.until {
		m.change(now, HalfOpen, whyWaitOver)
	}
	switch m.state {
	case Opened, ForcedOpen:
		m.refused++
		return Permit{}, false
	case HalfOpen:
		if m.permits == 0 {
			m.refused++
			return Permit{}, false
		}
		m.permits--
	}
	return Permit{m.generation, now}, true
}

// due is when the machine changes by itself, if nothing happens before: the
// owner has to call tick then.
func (m *machine) due() (at time.Duration, ok bool) {
	switch m.state {
	case Opened:
		return m.until, m.automatic
	case HalfOpen:
		return m.until, m.halfOpenFor > 0
	default:
		return 0, false
	}
}

// tick does what is due.
func (m *machine) tick(now time.Duration) {
	at, ok := m.due()
	switch {
	case !ok || now < at:
	case m.state == Opened:
		m.change(now, HalfOpen, whyWaitOver)
	default:
		m.change(now, m.halfOpenThen, whyTrialsLate)
	}
}

// wait is how long it takes, by time alone, until acquire may say yes; 0 when
// only a result or a person can bring that about.
func (m *machine) wait(now time.Duration) time.Duration {
	if m.state != Opened {
		return 0
	}
	return max(1, m.until-now+1)
}

// release gives a permit back unused, for a call that says nothing about the
// dependency. It reports whether another call may have the permit now.
func (m *machine) release(p Permit) bool {
	if m.state != HalfOpen || p.generation != m.generation {
		return false
	}
	m.permits++
	return true
}

// record takes the result of a permitted call.
func (m *machine) record(now time.Duration, p Permit, failed bool) {
	m.tick(now)
	if p.generation != m.generation || m.state == Disabled {
		return
	}
	m.seen.record(now, failed, now-p.at > m.slow)
	m.streak++
	if !failed {
		m.streak = 0
	}
	if m.state == HalfOpen {
		m.judgeTrials(now)
	} else {
		m.judge(now)
	}
}

// judge opens a closed breaker when a threshold is reached.
func (m *machine) judge(now time.Duration) {
	t := m.seen.totals(now)
	failure, slow := m.share(t)
	reached := [numExceeded + 1]bool{
		failureRateExceeded: m.failureRate > 0 && failure >= m.failureRate,
		slowRateExceeded:    slow >= m.slowRate,
		failuresExceeded:    m.failures > 0 && t.failed >= m.failures,
		consecutiveExceeded: m.consecutive > 0 && m.streak >= m.consecutive,
	}
	if reached == ([numExceeded + 1]bool{}) {
		return
	}
	why := whyNot
	for kind := failureRateExceeded; int(kind) <= numExceeded; kind++ {
		if reached[kind] {
			m.exceeded(kind, now)
			if why == whyNot {
				why = whyExceeded[kind]
			}
		}
	}
	if m.state == Closed {
		m.change(now, Opened, why)
	}
}

// judgeTrials closes a half-open breaker or opens it again, once there are
// enough results.
func (m *machine) judgeTrials(now time.Duration) {
	switch failure, slow := m.share(m.seen.totals(now)); {
	case failure < 0:
	case failure >= m.trialRate:
		m.change(now, Opened, whyTrialsBad)
	case slow >= m.slowRate:
		m.change(now, Opened, whyTrialsSlow)
	default:
		m.change(now, Closed, whyTrialsGood)
	}
}

// exceeded tells, once per state, that a threshold is reached.
func (m *machine) exceeded(kind noticeKind, now time.Duration) {
	if m.published[kind] {
		return
	}
	m.published[kind] = true
	failure, slow, calls := m.rates(now)
	m.notify(notice{kind, m.state, m.state, whyExceeded[kind], failure, slow, calls})
}

// rates are in percent, -1 while there are too few results.
func (m *machine) rates(now time.Duration) (failure, slow float32, calls int) {
	t := m.seen.totals(now)
	failure, slow = m.share(t)
	return failure, slow, t.calls
}

func (m *machine) share(t totals) (failure, slow float32) {
	if t.calls == 0 || t.calls < m.minimum {
		return -1, -1
	}
	n := float32(t.calls)
	return float32(t.failed) * 100 / n, float32(t.slow) * 100 / n
}

// to changes the state by hand.
func (m *machine) to(now time.Duration, s State) error {
	m.tick(now)
	if !legal[m.state][s] {
		return fmt.Errorf("a breaker cannot go from %v to %v", m.state, s)
	}
	m.change(now, s, whyByHand)
	return nil
}

// reset closes the breaker from any state and forgets all results.
func (m *machine) reset(now time.Duration) { m.change(now, Closed, whyByHand) }

func (m *machine) change(now time.Duration, s State, why string) {
	from := m.state
	failure, slow, calls := m.rates(now)
	m.begin(now, s)
	if from != s {
		m.notify(notice{changed, from, s, why, failure, slow, calls})
	}
}

// begin sets up a state.
func (m *machine) begin(now time.Duration, s State) {
	m.state, m.since = s, now
	m.generation++
	m.published = [numExceeded + 1]bool{}
	m.streak = 0
	switch s {
	case Closed, MetricsOnly:
		m.attempts = 0
		m.remember(m.window.tally(now), m.window.minimum(m.minCalls))
	case Opened:
		m.attempts++
		m.until = now + m.open.wait(m.attempts)
	case HalfOpen:
		m.permits, m.until = m.halfOpenCalls, now+m.halfOpenFor
		m.remember(newLastCalls(m.halfOpenCalls), min(m.minCalls, m.halfOpenCalls))
	case Disabled:
		m.attempts = 0
		m.remember(newLastCalls(1), 1)
	case ForcedOpen:
		m.attempts++
		m.remember(newLastCalls(1), 1)
	}
}

func (m *machine) remember(seen tally, minimum int) {
	m.seen, m.minimum, m.refused = seen, minimum, 0
}
