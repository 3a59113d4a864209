package load

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// MaxRate is the highest rate: one event per nanosecond, the grain of time.
const MaxRate Rate = 1e9

// Rate is a number of events per second, written "100/s", "1.5k/s", "2M/min",
// or 0.
type Rate float64

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if strings.TrimSpace(string(text)) == "0" {
		*r = 0
		return nil
	}
	var rate stage.Rate
	if err := rate.UnmarshalText(text); err != nil {
		return err
	}
	*r = Rate(rate)
	return nil
}

// MarshalText writes the rate per second, exactly.
func (r Rate) MarshalText() ([]byte, error) { return stage.Rate(r).MarshalText() }

// String writes the rate for people, with six digits.
func (r Rate) String() string { return stage.Rate(r).String() }

// Loop is how often the phases are gone through, written as a number, "true"
// (for ever) or "false" (once). The zero Loop is once.
type Loop int

// Forever is the Loop that has no end.
const Forever Loop = -1

// UnmarshalText reads a number of times, true or false.
func (l *Loop) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); s {
	case "true":
		*l = Forever
	case "false":
		*l = 0
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("want true (for ever), false (once) or how many times, got %q", s)
		}
		*l = Loop(n)
	}
	return nil
}

// MarshalText writes the loop as a file would.
func (l Loop) MarshalText() ([]byte, error) {
	switch l {
	case Forever:
		return []byte("true"), nil
	case 0:
		return []byte("false"), nil
	default:
		return []byte(strconv.Itoa(int(l))), nil
	}
}

// Arrivals is how events are spaced along the curve.
type Arrivals struct {
	// Kind is "uniform" (the zero value means it too) or "poisson", written
	// instead of the map.
	Kind string `yaml:"-"`
	// Gamma makes random gaps that are more regular (cv below 1) or come more in
	// bursts (cv above 1) than poisson, which is a cv of 1.
	Gamma *Gamma `yaml:"gamma"`
	// Jitter moves each event of uniform arrivals at random by up to half of
	// this share of a gap, to either side; at most 100%.
	Jitter *stage.Percent `yaml:"jitter"`
}

// Gamma describes gamma-distributed gaps.
type Gamma struct {
	// CV is the coefficient of variation of the gaps: their standard deviation
	// over their mean, from 0.01 to 10. Real logs have 1.5 to 20.
	CV float64 `yaml:"cv"`
}

// UnmarshalText reads the arrivals that have no settings.
func (a *Arrivals) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); s {
	case uniform, poisson:
		*a = Arrivals{Kind: s}
		return nil
	case "gamma", "jitter":
		return fmt.Errorf("%s needs a value: {gamma: {cv: 3}} or {jitter: 10%%}", s)
	default:
		return fmt.Errorf("want uniform, poisson, {gamma: {cv: 3}} or {jitter: 10%%}, got %q", s)
	}
}

// Late is what happens to events that could not be handed out when they were
// due, because the route was slower. Every case is counted.
type Late struct {
	// Policy is catch_up (they are handed out as soon as the route takes them,
	// which is the default), drop (they are left out) or stretch (the rest of the
	// profile is put off, so that nothing is owed; the default of closed).
	Policy string `yaml:"policy"`
	// MaxLag is how late an event may be before the policy treats it as late.
	// Default 10ms; with catch_up: what is later than this is left out, and the
	// default 0s leaves nothing out.
	MaxLag stage.Duration `yaml:"max_lag"`
}

// UnmarshalText reads a policy without settings.
func (l *Late) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, known := range policies {
		if s == known {
			*l = Late{Policy: s}
			return nil
		}
	}
	return fmt.Errorf("want one of %s, got %q", strings.Join(policies, ", "), s)
}

// Model says who decides when the next event comes.
type Model struct {
	// Closed makes a fixed number of workers send one event after the other, as
	// callers do that wait for an answer. Left out, or with `model: open`, the
	// schedule alone decides.
	Closed *Closed `yaml:"closed"`
}

// Closed is a fixed number of workers.
type Closed struct {
	// Workers is how many events are under way at most.
	Workers int `yaml:"workers"`
	// Think is how long a worker waits after its event was settled. Default 0s.
	Think stage.Duration `yaml:"think"`
}

// UnmarshalText reads "open".
func (m *Model) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); s {
	case "open":
		*m = Model{}
		return nil
	case "closed":
		return fmt.Errorf("closed needs its workers: {closed: {workers: 8, think: 5ms}}")
	default:
		return fmt.Errorf("want open or {closed: {workers: 8, think: 5ms}}, got %q", s)
	}
}

const (
	uniform = "uniform"
	poisson = "poisson"

	catchUp = "catch_up"
	drop    = "drop"
	stretch = "stretch"
)

var policies = []string{catchUp, drop, stretch}
