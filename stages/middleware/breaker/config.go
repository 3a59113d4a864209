package breaker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
)

const (
	onOpenWait = "wait"
	onOpenFail = "fail"
)

// Config is what a pipeline file says about a breaker. A call is one attempt
// to deliver a batch. It failed when the sink could not be reached or refused
// to work (bad weather), or needs a person; bad events do not count.
type Config struct {
	// Share of failed calls from which on the breaker opens. Default 50%.
	FailureRate stage.Percent `yaml:"failure_rate"`
	// Share of slow calls from which on the breaker opens. Default 100%.
	SlowCallRate stage.Percent `yaml:"slow_call_rate"`
	// A call that takes longer than this is slow, whether it fails or not.
	// Default 60s.
	SlowCallDuration stage.Duration `yaml:"slow_call_duration"`
	// Which calls the shares are taken of: a number (the last 100 calls) or a
	// time in whole seconds (those of the last 10s). Default 100.
	Window Window `yaml:"window"`
	// How many results must be in the window before the breaker may open. A
	// window of fewer calls needs to be full only. Default 100.
	MinCalls int `yaml:"min_calls"`
	// How long the breaker stays open before it lets trial calls through.
	// Default 60s.
	OpenFor stage.Duration `yaml:"open_for"`
	// How many trial calls are let through when half-open. Their result closes
	// the breaker or opens it again. Default 10.
	HalfOpenCalls int `yaml:"half_open_calls"`
	// Whether the breaker turns half-open by itself when open_for is over,
	// rather than with the next batch. Default false.
	Automatic bool `yaml:"automatic"`
	// What a batch does that finds the breaker open: wait until it may pass
	// (no attempt of a retry around it is spent), or fail at once, saying
	// when to come back. Default wait.
	OnOpen string `yaml:"on_open"`
}

// defaults are Resilience4j's.
func defaults() *Config {
	return &Config{
		FailureRate:      0.5,
		SlowCallRate:     1,
		SlowCallDuration: stage.Duration(time.Minute),
		Window:           Window{Calls: 100},
		MinCalls:         100,
		OpenFor:          stage.Duration(time.Minute),
		HalfOpenCalls:    10,
		OnOpen:           onOpenWait,
	}
}

// Window is which calls count: the last Calls, or, when Span is not 0, those
// of the last Span. In a file it is a number or a duration.
type Window struct {
	Calls int           `yaml:"-"`
	Span  time.Duration `yaml:"-"`
}

// UnmarshalText reads "100" or "10s".
func (w *Window) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if n, err := strconv.Atoi(s); err == nil {
		*w = Window{Calls: n}
		return nil
	}
	var d stage.Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("want a number of calls such as 100, or a time such as 10s, got %q", s)
	}
	*w = Window{Span: d.Std()}
	return nil
}

// MarshalText writes the window as a file would.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// String writes the window as a file would.
func (w Window) String() string {
	if w.Span != 0 {
		return stage.Duration(w.Span).String()
	}
	return strconv.Itoa(w.Calls)
}

// tally makes the memory of a window that begins now.
func (w Window) tally(now time.Duration) tally {
	if w.Span == 0 {
		return newLastCalls(w.Calls)
	}
	t := newLastSeconds(int(w.Span / time.Second))
	t.second = int64(now / time.Second)
	return t
}

// The largest windows take about a megabyte of memory.
const (
	mostCalls = 1_000_000
	mostSpan  = 12 * time.Hour
)

// Validate reports settings with which the breaker could not work.
func (c *Config) Validate(p *stage.Problems) {
	percent := func(key string, v stage.Percent) {
		if !(v > 0 && v <= 1) {
			p.Add(key, "must be above 0%% and at most 100%%, got %v", v)
		}
	}
	atLeast := func(key string, v int) {
		if v < 1 || v > mostCalls {
			p.Add(key, "must be at least 1 and at most %d, got %d", mostCalls, v)
		}
	}
	percent("failure_rate", c.FailureRate)
	percent("slow_call_rate", c.SlowCallRate)
	if c.SlowCallDuration <= 0 {
		p.Add("slow_call_duration", "must be above 0, got %v", c.SlowCallDuration)
	}
	c.Window.validate(p)
	atLeast("min_calls", c.MinCalls)
	if c.OpenFor.Std() < time.Millisecond {
		p.Add("open_for", "must be at least 1ms, got %v", c.OpenFor)
	}
	atLeast("half_open_calls", c.HalfOpenCalls)
	p.OneOf("on_open", c.OnOpen, onOpenWait, onOpenFail)
}

func (w Window) validate(p *stage.Problems) {
	switch {
	case w.Span == 0 && (w.Calls < 1 || w.Calls > mostCalls):
		p.Add("window", "must be at least 1 call and at most %d, or a time such as 10s, got %v", mostCalls, w)
	case w.Span != 0 && (w.Span < time.Second || w.Span > mostSpan || w.Span%time.Second != 0):
		p.Add("window", "must be whole seconds, at least 1s and at most %v, or a number of calls, got %v", mostSpan, w)
	}
}

func (c *Config) rules() rules {
	return rules{
		failureRate:   float32(c.FailureRate * 100),
		slowRate:      float32(c.SlowCallRate * 100),
		slow:          c.SlowCallDuration.Std(),
		window:        c.Window,
		minCalls:      c.MinCalls,
		openFor:       c.OpenFor.Std(),
		halfOpenCalls: c.HalfOpenCalls,
	}
}

// Explain says what the breaker adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	window := fmt.Sprintf("the last %d calls", c.Window.Calls)
	if c.Window.Span != 0 {
		window = fmt.Sprintf("the calls of the last %v", c.Window)
	}
	away := fmt.Sprintf("The breaker opens within its window; batches wait unsettled, nothing is lost, and %d trial calls every %v find out when it is back.",
		c.HalfOpenCalls, c.OpenFor)
	if c.OnOpen == onOpenFail {
		away = fmt.Sprintf("The breaker opens within its window; batches fail at once and stay unsettled for whoever tries again, and %d trial calls every %v find out when it is back.",
			c.HalfOpenCalls, c.OpenFor)
	}
	return stage.Explanation{
		Does: fmt.Sprintf("Stops calling what is behind it for %v once %v of %s failed or %v took longer than %v; bad events do not count.",
			c.OpenFor, c.FailureRate, window, c.SlowCallRate, c.SlowCallDuration),
		Crash: "Waiting batches are unsettled and read again; the breaker starts closed.",
		Away:  away,
	}
}
