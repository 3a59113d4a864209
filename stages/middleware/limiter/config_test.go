package limiter

import (
	"strings"
	"testing"
	"time"

	"millrace/engine/stage"
)

func TestSettingsThatCannotWorkAreReported(t *testing.T) {
	for _, c := range []struct {
		change    func(*Config)
		key, text string
	}{
		{func(c *Config) { c.Rate = 0 }, "rate", "must be above 0 and at most 1000G/s, got 0/s"},
		{func(c *Config) { c.Rate = -5 }, "rate", "must be above 0"},
		{func(c *Config) { c.Rate = 1e18 }, "rate", "must be above 0 and at most"},
		{func(c *Config) { c.Window = 0 }, "window", "must be at least 1ms, got 0s"},
		{func(c *Config) { c.Rate = 0.1 }, "window", "must hold at least one event: at a rate of 0.1/s at least 10s, got 1s"},
		{func(c *Config) { c.Rate, c.Window = 1e11, stage.Duration(24*time.Hour) }, "window", "rate x window must be at most"},
		{func(c *Config) { c.Rate = 1.5 }, "window", "holds 1.5 events at a rate of 1.5/s, which is rounded down to 1"},
		{func(c *Config) { c.Burst = 5 }, "burst", "belongs to algorithm token_bucket"},
		{func(c *Config) { c.Algorithm, c.Burst = tokenBucket, -1 }, "burst", "must be at least 1"},
		{func(c *Config) { c.Algorithm, c.Window = tokenBucket, stage.Duration(time.Minute) }, "window", "belongs to algorithm sliding_window and fixed_window"},
		{func(c *Config) { c.Algorithm = "leaky" }, "algorithm", `got "leaky"`},
		{func(c *Config) { c.OnLimit = "panic" }, "on_limit", `got "panic"`},
	} {
		var p stage.Problems
		config(c.change).Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.Contains(p.Found[0].Text, c.text) {
			t.Errorf("got %+v, want %s: %s", p.Found, c.key, c.text)
		}
	}
}

func TestRatesPerMinuteKeepTheirWholeCount(t *testing.T) {
	var r stage.Rate
	if err := r.UnmarshalText([]byte("7/min")); err != nil {
		t.Fatal(err)
	}
	c := config(func(c *Config) { c.Rate, c.Window = r, stage.Duration(time.Minute) })
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 || c.windowLimit() != 7 {
		t.Errorf("7/min over 1m is %d events, problems %v", c.windowLimit(), p.Found)
	}
}
