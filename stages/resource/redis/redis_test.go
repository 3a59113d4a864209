package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/internal/ports"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func open(t *testing.T, address string, variables map[string]string) *Store {
	t.Helper()
	c := Stage.New().(*Config)
	c.URL, c.Timeout, c.ConnectTimeout = stage.Secret(address), stage.Duration(time.Minute), stage.Duration(time.Minute) // busy is not away
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %+v", p.Found)
	}
	opened, err := c.Open(t.Context(), stage.Settings{Name: "redis", Metrics: prometheus.NewRegistry(), Variables: variables})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened.(*Store)
}

func TestTheClientConnectsWhenFirstUsedAndAgainAfterAnOutage(t *testing.T) {
	server, address := miniredis.NewMiniRedis(), ports.Address(ports.One(t)) // which nobody takes while it is closed
	if err := server.StartAddr(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := open(t, "redis://"+address+"/2", nil)
	if n := server.TotalConnectionCount(); n != 0 {
		t.Errorf("%d connections although nobody asked yet", n)
	}
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Probe(ctx); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), address) {
		t.Errorf("while it is away: %v, class %v; want weather that names the server", err, stage.ClassOf(err))
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(ctx); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

func TestWithoutURLThereIsNoRedisAndTheVariableIsNamed(t *testing.T) {
	s := open(t, "", map[string]string{"url": "REDIS_URL"})
	if s.Client != nil || s.Probe(t.Context()) != nil || s.String() != "no Redis" {
		t.Errorf("client %v, probe %v, %s", s.Client, s.Probe(t.Context()), s)
	}
	if got := s.Missing(); got != "resource redis has no url: REDIS_URL is not set" {
		t.Errorf("%q", got)
	}
	if got := open(t, "", nil).Missing(); got != "resource redis has no url" {
		t.Errorf("%q", got)
	}
	if got := open(t, "redis://localhost:1", nil).Missing(); got != "" {
		t.Errorf("with a URL: %q", got)
	}
}

func TestAWrongPasswordNeedsAPerson(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("right")
	for _, user := range []string{"", ":wrong@"} {
		err := open(t, "redis://"+user+server.Addr(), nil).Probe(t.Context())
		if stage.ClassOf(err) != stage.Unfixable || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("user %q: %v, class %v", user, err, stage.ClassOf(err))
		}
	}
	if err := open(t, "redis://:right@"+server.Addr(), nil).Probe(t.Context()); err != nil {
		t.Errorf("with the right one: %v", err)
	}
	if err := Classify(context.Canceled); !errors.Is(err, context.Canceled) || stage.ClassOf(err) != stage.Stopped {
		t.Errorf("a stop became %v", err)
	}
}

func TestSettingsThatCannotWorkAreReportedWithoutThePassword(t *testing.T) {
	for _, c := range []struct {
		change    func(*Config)
		key, text string
	}{
		{func(c *Config) { c.URL = "localhost:6379" }, "url", "is not an address"},
		{func(c *Config) { c.URL = "http://u:hunter2@localhost" }, "url", "scheme that is not supported"},
		{func(c *Config) { c.URL = "redis://u:hunter2%@localhost" }, "url", "%40 for @"},
		{func(c *Config) { c.URL = "redis://u:hunter2@localhost/first" }, "url", "database number"},
		{func(c *Config) { c.Pool = 0 }, "pool", "must be from 1 to 10000 connections, got 0"},
		{func(c *Config) { c.Timeout = 0 }, "timeout", "must be at least 1ms, got 0s"},
		{func(c *Config) { c.ConnectTimeout = -1 }, "connect_timeout", "must be at least 1ms"},
	} {
		config := Stage.New().(*Config)
		c.change(config)
		var p stage.Problems
		config.Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.Contains(p.Found[0].Text, c.text) || strings.Contains(p.Found[0].Text, "hunter2") {
			t.Errorf("got %+v, want %s: %s", p.Found, c.key, c.text)
		}
	}
}
