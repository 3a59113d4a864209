package circuit

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"millrace/engine/stage"
)

// Config is what makes a breaker. The stages that let a file make one declare
// the same fields with their keys and documentation, and convert.
type Config struct {
	FailureRate         *stage.Percent
	SlowCallRate        stage.Percent
	SlowCallDuration    stage.Duration
	Failures            int
	ConsecutiveFailures int
	Window              Window
	MinCalls            *int
	OpenFor             stage.Duration
	OpenMultiplier      float64
	OpenMax             stage.Duration
	OpenJitter          stage.Percent
	HalfOpenCalls       int
	HalfOpenFor         stage.Duration
	HalfOpenThen        string
	Automatic           bool
	Record              []string
	Ignore              []string
	Webhook             stage.Secret
}

// Defaults are Resilience4j's.
func Defaults() Config {
	return Config{
		SlowCallRate:     1,
		SlowCallDuration: stage.Duration(time.Minute),
		Window:           Window{Calls: 100},
		OpenFor:          stage.Duration(time.Minute),
		OpenMultiplier:   1,
		OpenMax:          stage.Duration(10 * time.Minute),
		HalfOpenCalls:    10,
		HalfOpenThen:     Opened.String(),
		Record:           []string{stage.Retryable.String(), stage.Unfixable.String()},
	}
}

// What holds where a file says nothing.
const (
	usualFailureRate stage.Percent = 0.5
	usualMinCalls    int           = 100
)

// Validate reports settings with which the breaker could not work.
func (c *Config) Validate(p *stage.Problems) {
	c.validateThresholds(p)
	c.validateWindow(p)
	c.validateOpen(p)
	c.validateHalfOpen(p)
	c.validateClasses(p)
	if c.Webhook != "" {
		if u, err := url.Parse(c.Webhook.Reveal()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			p.Add("webhook", "must be an address that begins with http:// or https:// (not shown, as it may hold a secret)")
		}
	}
}

func (c *Config) validateThresholds(p *stage.Problems) {
	percent := func(key string, v stage.Percent) {
		if !(v > 0 && v <= 1) {
			p.Add(key, "must be above 0%% and at most 100%%, got %v", v)
		}
	}
	if c.FailureRate != nil {
		percent("failure_rate", *c.FailureRate)
	}
	percent("slow_call_rate", c.SlowCallRate)
	if c.SlowCallDuration <= 0 {
		p.Add("slow_call_duration", "must be above 0, got %v", c.SlowCallDuration)
	}
	if c.ConsecutiveFailures < 0 {
		p.Add("consecutive_failures", "must be at least 1, or be left out, got %d", c.ConsecutiveFailures)
	}
	switch {
	case c.Failures < 0:
		p.Add("failures", "must be at least 1, or be left out, got %d", c.Failures)
	case c.Window.Span == 0 && c.Window.Calls > 0 && c.Failures > c.Window.Calls:
		p.Add("failures", "can never be reached: the window holds the last %d calls, got %d", c.Window.Calls, c.Failures)
	}
}

func (c *Config) validateWindow(p *stage.Problems) {
	c.Window.validate(p)
	if c.MinCalls == nil {
		return
	}
	switch n := *c.MinCalls; {
	case n < 1 || n > mostCalls:
		p.Add("min_calls", "must be at least 1 and at most %d, got %d", mostCalls, n)
	case c.Window.Span == 0 && c.Window.Calls > 0 && n > c.Window.Calls:
		p.Add("min_calls", "must be at most the window of %d calls, which never holds more, got %d", c.Window.Calls, n)
	}
}

// mostOpen bounds the wait, so that it can be computed with.
const mostOpen = 365 * 24 * time.Hour

func (c *Config) validateOpen(p *stage.Problems) {
	if d := c.OpenFor.Std(); d < time.Millisecond || d > mostOpen {
		p.Add("open_for", "must be at least 1ms and at most 365d, got %v", c.OpenFor)
	}
	if !(c.OpenMultiplier >= 1 && c.OpenMultiplier <= 1000) {
		p.Add("open_multiplier", "must be at least 1 and at most 1000, got %v", c.OpenMultiplier)
	}
	if c.OpenMultiplier > 1 && (c.OpenMax < c.OpenFor || c.OpenMax.Std() > mostOpen) {
		p.Add("open_max", "must be at least open_for (%v) and at most 365d, got %v", c.OpenFor, c.OpenMax)
	}
	if !(c.OpenJitter >= 0 && c.OpenJitter <= 1) {
		p.Add("open_jitter", "must be at least 0%% and at most 100%%, got %v", c.OpenJitter)
	}
}

func (c *Config) validateHalfOpen(p *stage.Problems) {
	if n := c.HalfOpenCalls; n < 1 || n > mostCalls {
		p.Add("half_open_calls", "must be at least 1 and at most %d, got %d", mostCalls, n)
	}
	if d := c.HalfOpenFor.Std(); d != 0 && (d < time.Millisecond || d > mostOpen) {
		p.Add("half_open_for", "must be at least 1ms and at most 365d, or 0s for ever, got %v", c.HalfOpenFor)
	}
	p.OneOf("half_open_then", c.HalfOpenThen, Opened.String(), Closed.String())
	if c.HalfOpenFor == 0 && c.HalfOpenThen == Closed.String() {
		p.Add("half_open_then", "needs half_open_for: without it the breaker waits for its trials for ever")
	}
}

func (c *Config) validateClasses(p *stage.Problems) {
	if len(c.Record) == 0 {
		p.Add("record", "must name at least one class of errors, or no call ever fails; it can be %s", stage.Retryable)
	}
	for i, name := range c.Record {
		key := fmt.Sprintf("record.%d", i)
		if name == stage.BadEvent.String() {
			p.Add(key, "cannot be bad_event: a bad event says nothing about the dependency")
			continue
		}
		p.OneOf(key, name, stage.Retryable.String(), stage.Unfixable.String())
		if slices.Contains(c.Ignore, name) {
			p.Add(key, "is in ignore too: a class is either recorded or ignored, got %q", name)
		}
	}
	for i, name := range c.Ignore {
		p.OneOf(fmt.Sprintf("ignore.%d", i), name, stage.Retryable.String(), stage.BadEvent.String(), stage.Unfixable.String())
	}
}

func (c *Config) rules() rules {
	r := rules{
		trialRate:     percent(usualFailureRate),
		slowRate:      percent(c.SlowCallRate),
		slow:          c.SlowCallDuration.Std(),
		failures:      c.Failures,
		consecutive:   c.ConsecutiveFailures,
		window:        c.Window,
		minCalls:      usualMinCalls,
		halfOpenCalls: c.HalfOpenCalls,
		halfOpenFor:   c.HalfOpenFor.Std(),
		halfOpenThen:  Opened,
		automatic:     c.Automatic,
		open: openWait{
			first: c.OpenFor.Std(), multiplier: c.OpenMultiplier, most: c.OpenMax.Std(),
			jitter: float64(c.OpenJitter), random: rand.Float64,
		},
	}
	if rate, ok := c.failureRate(); ok {
		r.failureRate, r.trialRate = percent(rate), percent(rate)
	}
	if c.MinCalls != nil {
		r.minCalls = *c.MinCalls
	}
	if c.HalfOpenThen == Closed.String() {
		r.halfOpenThen = Closed
	}
	return r
}

func percent(p stage.Percent) float32 { return float32(p * 100) }

// failureRate is the share that counts, if one does: naming another threshold
// for failures replaces the usual one.
func (c *Config) failureRate() (stage.Percent, bool) {
	if c.FailureRate != nil {
		return *c.FailureRate, true
	}
	return usualFailureRate, c.Failures == 0 && c.ConsecutiveFailures == 0
}

// Threshold says in words when the breaker opens: "50% of the last 10 calls
// failed or 100% took longer than 1m0s".
func (c *Config) Threshold() string {
	window := fmt.Sprintf("the last %d calls", c.Window.Calls)
	if c.Window.Span != 0 {
		window = fmt.Sprintf("the calls of the last %v", c.Window)
	}
	var text string
	or := func(format string, args ...any) {
		if text != "" {
			text += " or "
		}
		text += fmt.Sprintf(format, args...)
	}
	if rate, ok := c.failureRate(); ok {
		or("%v of %s failed", rate, window)
	}
	if c.Failures > 0 {
		or("%d of %s failed", c.Failures, window)
	}
	if c.ConsecutiveFailures > 0 {
		or("%d calls failed one after the other", c.ConsecutiveFailures)
	}
	or("%v of %s took longer than %v", c.SlowCallRate, window, c.SlowCallDuration)
	return text
}

// Wait says in words how long the breaker stays open: "5s".
func (c *Config) Wait() string {
	if c.OpenMultiplier > 1 {
		return fmt.Sprintf("%v (%v times longer each time, at most %v)", c.OpenFor, c.OpenMultiplier, c.OpenMax)
	}
	return c.OpenFor.String()
}
