package circuit

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/engine/stage"
)

func TestWindowIsANumberOfCallsOrATime(t *testing.T) {
	for text, want := range map[string]Window{
		"100": {Calls: 100}, " 7 ": {Calls: 7}, "10s": {Span: 10 * time.Second}, "1m30s": {Span: 90 * time.Second}, "-1": {Calls: -1},
	} {
		var w Window
		if err := w.UnmarshalText([]byte(text)); err != nil || w != want {
			t.Errorf("%q is %+v, %v", text, w, err)
		}
		var again Window
		if err := again.UnmarshalText([]byte(w.String())); err != nil || again != w {
			t.Errorf("%q printed as %q is %+v, %v", text, w, again, err)
		}
	}
	var w Window
	for _, text := range []string{"", "ten", "10 calls", "1.5"} {
		if err := w.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "want a number of calls such as 100, or a time such as 10s") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzWindow(f *testing.F) {
	for _, text := range []string{"100", "10s", "0", "-3", "0s", "1.5d", "9999999999999999999", "1h-2m", " 5 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var w, again Window
		if w.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(w.String())); err != nil || again != w {
			t.Errorf("%q is %+v, which is printed as %q and read as %+v, %v", text, w, w, again, err)
		}
		var p stage.Problems
		if w.validate(&p); len(p.Found) == 0 && w.tally(0).totals(0) != (totals{}) {
			t.Errorf("%q begins with results", text)
		}
	})
}

func TestSettingsThatCannotWorkAreReported(t *testing.T) {
	for _, c := range []struct {
		change    func(*Config)
		key, text string
	}{
		{func(c *Config) { c.FailureRate = new(stage.Percent) }, "failure_rate", "must be above 0% and at most 100%, got 0%"},
		{func(c *Config) { c.FailureRate = new(stage.Percent(1.01)) }, "failure_rate", "got 101%"},
		{func(c *Config) { c.SlowCallRate = -0.5 }, "slow_call_rate", "got -50%"},
		{func(c *Config) { c.SlowCallDuration = 0 }, "slow_call_duration", "must be above 0, got 0s"},
		{func(c *Config) { c.Failures = -1 }, "failures", "must be at least 1, or be left out, got -1"},
		{func(c *Config) { c.Failures = 11 }, "failures", "can never be reached: the window holds the last 10 calls, got 11"},
		{func(c *Config) { c.ConsecutiveFailures = -2 }, "consecutive_failures", "got -2"},
		{func(c *Config) { c.Window = Window{} }, "window", "must be at least 1 call and at most 1000000, or a time such as 10s, got 0"},
		{func(c *Config) { c.Window.Calls = 1 << 30 }, "window", "at most 1000000"},
		{func(c *Config) { c.Window = Window{Span: 1500 * time.Millisecond} }, "window", "must be whole seconds, at least 1s and at most 12h0m0s, or a number of calls, got 1.5s"},
		{func(c *Config) { c.Window = Window{Span: -time.Second} }, "window", "got -1s"},
		{func(c *Config) { c.MinCalls = new(0) }, "min_calls", "must be at least 1 and at most 1000000, got 0"},
		{func(c *Config) { c.MinCalls = new(11) }, "min_calls", "must be at most the window of 10 calls, which never holds more, got 11"},
		{func(c *Config) { c.OpenFor = 0 }, "open_for", "must be at least 1ms and at most 365d, got 0s"},
		{func(c *Config) { c.OpenMultiplier = 0.5 }, "open_multiplier", "must be at least 1 and at most 1000, got 0.5"},
		{func(c *Config) { c.OpenMultiplier, c.OpenMax = 2, stage.Duration(time.Second) }, "open_max", "must be at least open_for (1m0s) and at most 365d, got 1s"},
		{func(c *Config) { c.OpenJitter = 1.5 }, "open_jitter", "got 150%"},
		{func(c *Config) { c.HalfOpenCalls = 0 }, "half_open_calls", "must be at least 1"},
		{func(c *Config) { c.HalfOpenFor = -1 }, "half_open_for", "or 0s for ever"},
		{func(c *Config) { c.HalfOpenFor, c.HalfOpenThen = stage.Duration(time.Second), "shut" }, "half_open_then", `got "shut"`},
		{func(c *Config) { c.HalfOpenThen = "closed" }, "half_open_then", "needs half_open_for"},
		{func(c *Config) { c.Record = nil }, "record", "must name at least one class"},
		{func(c *Config) { c.Record = []string{"fatal", "timeouts"} }, "record.1", `must be one of [retryable fatal], got "timeouts"`},
		{func(c *Config) { c.Record = []string{"bad_event"} }, "record.0", "a bad event says nothing about the dependency"},
		{func(c *Config) { c.Ignore = []string{"fatal"} }, "record.1", `is in ignore too: a class is either recorded or ignored, got "fatal"`},
		{func(c *Config) { c.Ignore = []string{"ok"} }, "ignore.0", `got "ok"`},
		{func(c *Config) { c.Webhook = "ftp://hooks/T0K3N" }, "webhook", "must be an address that begins with http:// or https://"},
		{func(c *Config) { c.Webhook = "https:///T0K3N" }, "webhook", "not shown"},
	} {
		conf := Defaults()
		conf.Window, conf.MinCalls = Window{Calls: 10}, new(5)
		c.change(&conf)
		var p stage.Problems
		conf.Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.Contains(p.Found[0].Text, c.text) {
			t.Errorf("got %+v, want %s: %s", p.Found, c.key, c.text)
		}
		if len(p.Found) > 0 && strings.Contains(p.Found[0].Text, "T0K3N") {
			t.Errorf("%q shows the secret", p.Found[0].Text)
		}
	}
}

func TestSettingsThatWork(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"defaults":                  func(*Config) {},
		"a window below 100 calls":  func(c *Config) { c.Window.Calls = 10 },
		"min_calls in a short time": func(c *Config) { c.Window, c.MinCalls = Window{Span: time.Second}, new(100_000) },
		"five failures in ten seconds": func(c *Config) {
			c.Window, c.Failures = Window{Span: 10 * time.Second}, 5
		},
		"a webhook": func(c *Config) { c.Webhook = "https://user:password@hooks.example.org/T0K3N?x=y" },
	} {
		conf := Defaults()
		change(&conf)
		var p stage.Problems
		if conf.Validate(&p); len(p.Found) > 0 {
			t.Errorf("%s: %+v", name, p.Found)
		}
	}
}

func TestDefaultsAreResilience4js(t *testing.T) {
	c := Defaults()
	r := c.rules()
	r.open.random = nil
	want := rules{
		failureRate: 50, trialRate: 50, slowRate: 100, slow: time.Minute, window: Window{Calls: 100}, minCalls: 100,
		open:          openWait{first: time.Minute, multiplier: 1, most: 10 * time.Minute},
		halfOpenCalls: 10, halfOpenThen: Opened,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("defaults are %+v, want %+v", r, want)
	}
}

func TestAnotherThresholdReplacesTheUsualFailureRate(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*Config)
		rate      float32
		threshold string
	}{
		"neither":     {func(*Config) {}, 50, "50% of the last 100 calls failed or 100% of the last 100 calls took longer than 1m0s"},
		"failures":    {func(c *Config) { c.Failures = 5; c.Window = Window{Span: 10 * time.Second} }, 0, "5 of the calls of the last 10s failed or 100% of the calls of the last 10s took longer than 1m0s"},
		"consecutive": {func(c *Config) { c.ConsecutiveFailures = 3 }, 0, "3 calls failed one after the other or 100% of the last 100 calls took longer than 1m0s"},
		"both":        {func(c *Config) { c.Failures, c.FailureRate = 5, new(stage.Percent(0.3)) }, 30, "30% of the last 100 calls failed or 5 of the last 100 calls failed or 100% of the last 100 calls took longer than 1m0s"},
	} {
		conf := Defaults()
		c.change(&conf)
		if r := conf.rules(); r.failureRate != c.rate || r.trialRate == 0 {
			t.Errorf("%s: it opens at %v%% and judges trials at %v%%", name, r.failureRate, r.trialRate)
		}
		if got := conf.Threshold(); got != c.threshold {
			t.Errorf("%s: %q, want %q", name, got, c.threshold)
		}
	}
}
