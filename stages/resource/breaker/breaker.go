// Package breaker is a circuit breaker that routes share: what one of them
// learns about a dependency, all of them know.
//
// A route uses it by naming it in its breaker stage; how a breaker behaves, and
// how it is shown and changed while it runs, is said there:
//
//	resources: {orders-db: {kind: breaker, failure_rate: 50%, window: 10s}}
//	routes: {orders: {…, middleware: [{breaker: {resource: orders-db}}], …}}
//
// All routes count into one window. When it opens, it opens for all of them;
// the trials of a half-open one are those of whichever route comes first.
package breaker

import (
	"context"
	"embed"
	"fmt"
	"io"

	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "breaker", Kind: stage.KindResource, Files: files, New: func() any {
	c := Config(circuit.Defaults())
	return &c
}}

// Config is what a pipeline file says about a shared breaker. A call is one
// attempt to deliver a batch. The breaker stage has the same for a breaker of
// a route's own.
type Config struct {
	// Share of failed calls from which on the breaker opens. Default 50%, or
	// none where failures or consecutive_failures is given; the trials of a
	// half-open breaker are judged by 50% then.
	FailureRate *stage.Percent `yaml:"failure_rate"`
	// Share of slow calls from which on the breaker opens. Default 100%.
	SlowCallRate stage.Percent `yaml:"slow_call_rate"`
	// A call that takes longer than this is slow, whether it fails or not.
	// Default 60s.
	SlowCallDuration stage.Duration `yaml:"slow_call_duration"`
	// Number of failed calls in the window from which on the breaker opens,
	// whatever min_calls says: 5 with a window of 10s is five failures in ten
	// seconds. Default 0: however many.
	Failures int `yaml:"failures"`
	// Number of calls that failed one after the other from which on the breaker
	// opens, whatever window and min_calls say. Default 0: however many.
	ConsecutiveFailures int `yaml:"consecutive_failures"`
	// Which calls the shares are taken of: a number (the last 100 calls) or a
	// time in whole seconds (those of the last 10s). Default 100.
	Window circuit.Window `yaml:"window"`
	// How many results must be in the window before a share counts. Default
	// 100, or the window where that is fewer calls.
	MinCalls *int `yaml:"min_calls"`
	// How long the breaker stays open before it lets trial calls through.
	// Default 60s.
	OpenFor stage.Duration `yaml:"open_for"`
	// How many times longer it stays open each time the trials failed, until it
	// closes. Default 1: always the same.
	OpenMultiplier float64 `yaml:"open_multiplier"`
	// Longest time it stays open where open_multiplier is above 1. Default 10m.
	OpenMax stage.Duration `yaml:"open_max"`
	// Share of the time it stays open that is left to chance, more or less, so
	// that many engines do not come back at once. Default 0%.
	OpenJitter stage.Percent `yaml:"open_jitter"`
	// How many trial calls are let through when half-open. Their results, at
	// least min_calls of them where that is fewer, close the breaker or open it
	// again. Default 10.
	HalfOpenCalls int `yaml:"half_open_calls"`
	// How long the breaker waits for its trials when half-open. Default 0s: for
	// ever.
	HalfOpenFor stage.Duration `yaml:"half_open_for"`
	// What it does when half_open_for is over: open or closed. Default open.
	HalfOpenThen string `yaml:"half_open_then"`
	// Whether the breaker turns half-open by itself when its time is over,
	// rather than with the next call. Default false.
	Automatic bool `yaml:"automatic"`
	// Classes of errors that count as failures: retryable (the dependency is
	// away or too slow) and fatal (it needs a person). Default [retryable,
	// fatal]. Others count as successes: the dependency answered.
	Record []string `yaml:"record"`
	// Classes of errors that count neither way: retryable, fatal, bad_event.
	// Being told to stop is always ignored. Default none.
	Ignore []string `yaml:"ignore"`
	// Address that is told of each change of state by a POST with a JSON body,
	// without ever holding up a call; each is sent once, within 5s. Never
	// shown. Default none.
	Webhook stage.Secret `yaml:"webhook"`
}

// Validate reports settings with which the breaker could not work.
func (c *Config) Validate(p *stage.Problems) { (*circuit.Config)(c).Validate(p) }

// Explain says what the breaker adds to the guarantee of its routes.
func (c *Config) Explain() stage.Explanation {
	rules := (*circuit.Config)(c)
	return stage.Explanation{
		Does:  fmt.Sprintf("stops the calls of all routes that share it for %s once %s; bad events do not count", rules.Wait(), rules.Threshold()),
		Crash: "the breaker starts closed",
		Away:  fmt.Sprintf("%d trial calls, of whichever route comes first, find out when the dependency is back", c.HalfOpenCalls),
	}
}

// Open makes a closed breaker. What it returns is a *circuit.Breaker.
func (c *Config) Open(_ context.Context, s stage.Settings) (io.Closer, error) {
	return circuit.New(circuit.Config(*c), s)
}
