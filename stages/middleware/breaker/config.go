package breaker

import (
	"fmt"
	"reflect"

	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

const (
	onOpenWait   = "wait"
	onOpenReject = "reject"
	onOpenFail   = "fail"
	onOpenDivert = "divert"
)

// Config is what a pipeline file says about a breaker. A call is one attempt
// to deliver a batch.
type Config struct {
	// Breaker resource that this route shares with others: what one of them
	// learns, all of them know. Everything but on_open is said there, then.
	// Default: none, the route has a breaker of its own.
	Resource stage.Ref `yaml:"resource" resource:"breaker,named"`
	// What a batch does that finds the breaker open: wait until it may pass
	// (no attempt of a retry around it is spent), reject its events (the source
	// is told no and when to come back, an HTTP source answers 503; events of a
	// source that cannot send them again are lost), or fail (the attempt fails
	// at once, saying when to come back). Or its events go to another sink:
	// {divert: {file: {path: late.log}}}. Default wait.
	OnOpen OnOpen `yaml:"on_open"`
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

// OnOpen is what a batch does that finds the breaker open.
type OnOpen struct {
	// Another sink, or {route: other}, that gets the events while the breaker is
	// open. They are delivered then, and counted as diverted too: nobody brings
	// them to the route's own sink later. Trial calls still go there. Default
	// none.
	Divert stage.Outlet `yaml:"divert"`

	word string
}

// UnmarshalText reads a word.
func (o *OnOpen) UnmarshalText(text []byte) error {
	*o = OnOpen{word: string(text)}
	return nil
}

// MarshalText writes the word.
func (o OnOpen) MarshalText() ([]byte, error) { return []byte(o.does()), nil }

// does is what the batch does, in a word.
func (o OnOpen) does() string {
	if o.Divert != "" {
		return onOpenDivert
	}
	return o.word
}

func defaults() *Config {
	d := circuit.Defaults()
	return &Config{
		OnOpen:           OnOpen{word: onOpenWait},
		SlowCallRate:     d.SlowCallRate,
		SlowCallDuration: d.SlowCallDuration,
		Window:           d.Window,
		OpenFor:          d.OpenFor,
		OpenMultiplier:   d.OpenMultiplier,
		OpenMax:          d.OpenMax,
		HalfOpenCalls:    d.HalfOpenCalls,
		HalfOpenThen:     d.HalfOpenThen,
		Record:           d.Record,
	}
}

// rules are what makes a breaker of the route's own.
func (c *Config) rules() *circuit.Config {
	return &circuit.Config{
		FailureRate:         c.FailureRate,
		SlowCallRate:        c.SlowCallRate,
		SlowCallDuration:    c.SlowCallDuration,
		Failures:            c.Failures,
		ConsecutiveFailures: c.ConsecutiveFailures,
		Window:              c.Window,
		MinCalls:            c.MinCalls,
		OpenFor:             c.OpenFor,
		OpenMultiplier:      c.OpenMultiplier,
		OpenMax:             c.OpenMax,
		OpenJitter:          c.OpenJitter,
		HalfOpenCalls:       c.HalfOpenCalls,
		HalfOpenFor:         c.HalfOpenFor,
		HalfOpenThen:        c.HalfOpenThen,
		Automatic:           c.Automatic,
		Record:              c.Record,
		Ignore:              c.Ignore,
		Webhook:             c.Webhook,
	}
}

// Validate reports settings with which the breaker could not work.
func (c *Config) Validate(p *stage.Problems) {
	switch c.OnOpen.does() {
	case onOpenWait, onOpenReject, onOpenFail:
	case onOpenDivert:
		if c.OnOpen.Divert == "" {
			p.Add("on_open", "divert needs a sink: {divert: {file: {path: late.log}}}")
		}
	default:
		p.Add("on_open", "must be wait, reject, fail or {divert: {…}} with a sink, got %q", c.OnOpen.word)
	}
	if c.Resource == "" {
		c.rules().Validate(p)
		return
	}
	for _, key := range c.given() {
		p.Add(key, "belongs to the breaker %q, which this route shares: set it there, or leave resource out for a breaker of its own", c.Resource)
	}
}

// given lists the keys of the rules that are not as New gives them.
func (c *Config) given() (keys []string) {
	mine, usual := reflect.ValueOf(*c), reflect.ValueOf(*defaults())
	for i := range mine.NumField() {
		key := mine.Type().Field(i).Tag.Get("yaml")
		if key != "resource" && key != "on_open" && !reflect.DeepEqual(mine.Field(i).Interface(), usual.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Place says that calls are watched from here, and what is dropped instead of
// waiting.
func (c *Config) Place() stage.Placement {
	p := stage.Placement{Role: stage.Breaks}
	if c.OnOpen.does() == onOpenReject {
		p.Drops = stage.Setting{Key: "on_open", Value: onOpenReject}
	}
	return p
}

// Explain says what the breaker adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	rules := c.rules()
	does := fmt.Sprintf("Stops calling what is behind it for %s once %s; bad events do not count.", rules.Wait(), rules.Threshold())
	trials := fmt.Sprintf("%d trial calls find out when it is back.", c.HalfOpenCalls)
	if c.Resource != "" {
		does = fmt.Sprintf("Stops calling what is behind it while the breaker %q, which it shares with other routes, is open.", c.Resource)
		trials = "trial calls of all routes that share it find out when it is back."
	}
	return stage.Explanation{
		Does:  does,
		Crash: "Waiting batches are unsettled and read again; the breaker starts closed.",
		Away: map[string]string{
			onOpenWait: "The breaker opens; batches wait unsettled, nothing is lost, and ",
			onOpenReject: "The breaker opens; events are rejected, their source is told no and when to come back " +
				"(one that cannot send them again, such as Kafka, loses them), and ",
			onOpenFail: "The breaker opens; batches fail at once and stay unsettled for whoever tries again, and ",
			onOpenDivert: "The breaker opens; events are delivered to the sink of divert instead, counted as diverted, " +
				"and do not come to the route's own sink later; ",
		}[c.OnOpen.does()] + trials,
	}
}
