package breaker

import (
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
		{func(c *Config) { c.FailureRate = 0 }, "failure_rate", "must be above 0% and at most 100%, got 0%"},
		{func(c *Config) { c.FailureRate = 1.01 }, "failure_rate", "got 101%"},
		{func(c *Config) { c.SlowCallRate = -0.5 }, "slow_call_rate", "got -50%"},
		{func(c *Config) { c.SlowCallDuration = 0 }, "slow_call_duration", "must be above 0, got 0s"},
		{func(c *Config) { c.Window = Window{} }, "window", "must be at least 1 call and at most 1000000, or a time such as 10s, got 0"},
		{func(c *Config) { c.Window.Calls = 1 << 30 }, "window", "at most 1000000"},
		{func(c *Config) { c.Window = Window{Span: 1500 * time.Millisecond} }, "window", "must be whole seconds, at least 1s and at most 12h0m0s, or a number of calls, got 1.5s"},
		{func(c *Config) { c.Window = Window{Span: -time.Second} }, "window", "got -1s"},
		{func(c *Config) { c.MinCalls = 0 }, "min_calls", "must be at least 1 and at most 1000000, got 0"},
		{func(c *Config) { c.OpenFor = 0 }, "open_for", "must be at least 1ms, got 0s"},
		{func(c *Config) { c.HalfOpenCalls = 0 }, "half_open_calls", "must be at least 1"},
		{func(c *Config) { c.OnOpen = "panic" }, "on_open", `got "panic"`},
	} {
		var p stage.Problems
		day2Config(c.change).Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.Contains(p.Found[0].Text, c.text) {
			t.Errorf("got %+v, want %s: %s", p.Found, c.key, c.text)
		}
	}
	var p stage.Problems
	day2Config(func(c *Config) { c.MinCalls = 1000 }).Validate(&p)
	if len(p.Found) > 0 {
		t.Errorf("more min_calls than the window holds is allowed: %+v", p.Found)
	}
}

func TestDefaultsAreResilience4js(t *testing.T) {
	want := Config{
		FailureRate: 0.5, SlowCallRate: 1, SlowCallDuration: stage.Duration(time.Minute), Window: Window{Calls: 100},
		MinCalls: 100, OpenFor: stage.Duration(time.Minute), HalfOpenCalls: 10, OnOpen: "wait",
	}
	if got := *Stage.New().(*Config); got != want {
		t.Errorf("defaults are %+v", got)
	}
}
