package limiter

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
	"millrace/stages/resource/redis"
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
		{func(c *Config) { c.Algorithm, c.Burst = fixedWindow, 5 }, "burst", "belongs to algorithm token_bucket"},
		{func(c *Config) { c.Store = "etcd" }, "store", `got "etcd"`},
		{func(c *Config) { c.Store = storeRedis }, "store", "needs a resource of kind redis; add resources: {redis: {url: …}}"},
		{func(c *Config) { c.Fallback = fallbackLocal }, "fallback", "is for store redis, but the store is local; leave it out, got local"},
		{func(c *Config) { inRedis(c); c.Fallback = "panic" }, "fallback", `got "panic"`},
		{func(c *Config) { inRedis(c); c.Window = stage.Duration(100 * time.Millisecond) }, "window", "must be at least 200ms with store redis"},
		{func(c *Config) { inRedis(c); c.Algorithm, c.Burst = tokenBucket, 5 }, "burst", "must be at least 6 with store redis at a rate of 100/s: permits from there are used up to 50ms after they were counted, got 5"},
		{func(c *Config) { c.MaxKeys = 5 }, "max_keys", "there is no key; leave it out, got 5"},
		{func(c *Config) { byKeyOf(c, "source"); c.MaxKeys = 0 }, "max_keys", "must be from 1 to 1000000, got 0"},
		{func(c *Config) { byKeyOf(c, "id") }, "key", "is another one for nearly every event"},
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

func inRedis(c *Config) { c.Store, c.Resource = storeRedis, "redis" }

func byKeyOf(c *Config, key string) {
	if err := c.Key.UnmarshalText([]byte(key)); err != nil {
		panic(err)
	}
}

func TestWhatTheFileSaysIsExplained(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(*Config) {}, []string{"at most 100 events in any 1s through, counted in this process. More wait in order of arrival"}},
		{func(c *Config) { byKeyOf(c, "organisation"); c.OnLimit = onLimitPoison }, []string{"for each value of organisation (up to 10000 at a time)", "the poison queue stores them"}},
		{func(c *Config) { inRedis(c); c.Algorithm, c.Fallback = fixedWindow, fallbackLocal },
			[]string{"at most 100 events in each 1s by the clock through, all instances of the pipeline together", "free again after 1.05s", "90% of its share", "1.9 times the limit"}},
		{func(c *Config) { inRedis(c); c.Algorithm, c.Burst = tokenBucket, 40 }, []string{"at most 40 events at once and 100/s from then on", "Events wait until Redis is back."}},
		{func(c *Config) { inRedis(c); c.Fallback = fallbackOpen }, []string{"pass without a limit"}},
	} {
		e := config(c.change).Explain()
		all := e.Does + " " + e.Crash + " " + e.Away
		for _, want := range c.want {
			if !strings.Contains(all, want) {
				t.Errorf("%q is missing in: %s", want, all)
			}
		}
	}
}

func TestWithoutARedisURLTheLimitIsKeptHereAndTheVariableNamed(t *testing.T) {
	r := redis.Stage.New().(*redis.Config)
	store, err := r.Open(t.Context(), stage.Settings{Name: "redis", Variables: map[string]string{"url": "REDIS_URL"}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	c := config(func(c *Config) { inRedis(c); c.Fallback = fallbackLocal })
	w, err := c.Open(t.Context(), stage.Settings{
		Name: "limiter", Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Resource: func(string) (any, error) { return store, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.(*limiter).Status(); got["mode"] != "local" || got["limit"] != 100 {
		t.Errorf("%v", got)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "REDIS_URL is not set") {
		t.Errorf("log: %s", log.String())
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
