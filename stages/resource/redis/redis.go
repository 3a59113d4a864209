// Package redis connects to a Redis server, for the stages that share it.
//
// The client connects when it is first used and makes its connections again
// when the server is back.
//
// An empty URL is a configuration too: no Redis. A file that says
// `url: "${REDIS_URL:-}"` runs with nothing installed; the stages then keep in
// the process what they would share, and say so.
//
// For the stages there is the opened *Store of redis.go, to whose client they
// talk, each with a deadline of its own. Classify turns what goes wrong there
// into the error classes of the contract; Missing words it that there is none.
package redis

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name: "redis", Kind: stage.KindResource, Files: files,
	New: func() any {
		return &Config{
			Pool: 10, ConnectTimeout: stage.Duration(time.Second), Timeout: stage.Duration(500 * time.Millisecond),
		}
	},
}

// Config is what a user writes.
type Config struct {
	// URL is the address of the server: redis://user:password@host:6379/0, rediss:// for TLS, or
	// unix:///path/to/socket. Default empty: there is no Redis, and what the stages would share
	// is kept in this process. Never shown.
	URL stage.Secret `yaml:"url"`
	// Pool is how many connections may be open at once. Default 10. They are opened when needed.
	Pool int `yaml:"pool"`
	// ConnectTimeout is how long one attempt to connect may take. Default 1s.
	ConnectTimeout stage.Duration `yaml:"connect_timeout"`
	// Timeout is how long the server may take to answer before its connection is given up. A
	// stage that must know sooner waits less. Default 500ms.
	Timeout stage.Duration `yaml:"timeout"`
}

const forms = "write redis://user:password@host:6379/0, rediss://… for TLS, unix:///path, or leave it empty to go without Redis"

// Validate reports what is wrong without connecting.
func (c *Config) Validate(p *stage.Problems) {
	if _, err := c.options(); err != nil {
		p.Add("url", "%v", err)
	}
	if c.Pool < 1 || c.Pool > 10000 {
		p.Add("pool", "must be from 1 to 10000 connections, got %d", c.Pool)
	}
	for key, d := range map[string]stage.Duration{"connect_timeout": c.ConnectTimeout, "timeout": c.Timeout} {
		if d.Std() < time.Millisecond {
			p.Add(key, "must be at least 1ms, got %v", d)
		}
	}
}

// Explain tells what the resource does to a route's guarantee.
func (c *Config) Explain() stage.Explanation {
	if c.URL == "" {
		return stage.Explanation{Does: "no Redis is configured: what stages would share with other instances is kept in this process"}
	}
	return stage.Explanation{
		Does: "connects to Redis when first used",
		Away: "connections are made again when the server is back; what happens meanwhile is each stage's own choice",
	}
}

// Open makes the client. It needs no network.
func (c *Config) Open(_ context.Context, s stage.Settings) (io.Closer, error) {
	o, err := c.options()
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("url: %w", err))
	}
	store := &Store{resource: s.Name, variable: s.Variables["url"]}
	if o == nil {
		return store, nil
	}
	silence()
	store.Client = redis.NewClient(o)
	if err := store.measure(s.Metrics); err != nil {
		_ = store.Close()
		return nil, err
	}
	return store, nil
}

// options are the client's; nil without a URL.
func (c *Config) options() (*redis.Options, error) {
	if c.URL == "" {
		return nil, nil
	}
	o, err := redis.ParseURL(c.URL.Reveal())
	if err != nil {
		return nil, wrongURL(c.URL.Reveal())
	}
	o.PoolSize, o.PipelinePoolSize = c.Pool, -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = c.ConnectTimeout.Std(), c.Timeout.Std(), c.Timeout.Std()
	o.ContextTimeoutEnabled = true        // a stage's deadline is meant
	o.MaxRetries, o.DialerRetries = -1, 1 // each stage knows itself whether a call may be made twice
	o.Protocol, o.DisableIdentity = 2, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// wrongURL says what is wrong with an address and quotes nothing of it that
// could be a part of a password.
func wrongURL(text string) error {
	scheme, _, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		return errors.New("is not an address this stage can read: " + forms)
	case scheme != "redis" && scheme != "rediss" && scheme != "unix":
		return errors.New("has a scheme that is not supported: " + forms)
	}
	if _, err := url.Parse(text); err != nil {
		return errors.New("cannot be read (special characters of a password are written %40 for @, %2F for /, %25 for %): " + forms)
	}
	return errors.New("has a database number or a parameter that the client does not know: " + forms)
}

// Store is the opened resource. Safe for use from many goroutines.
type Store struct {
	// Client is the client; nil when no URL is configured. Its calls are not
	// repeated and end with their context.
	Client *redis.Client

	resource, variable string
}

// Missing says, when no URL is configured, that it is so and what to set; it
// is "" when there is one.
func (s *Store) Missing() string {
	switch {
	case s.Client != nil:
		return ""
	case s.variable != "":
		return fmt.Sprintf("resource %s has no url: %s is not set", s.resource, s.variable)
	default:
		return fmt.Sprintf("resource %s has no url", s.resource)
	}
}

// String says which server this is, without user or password.
func (s *Store) String() string {
	if s.Client == nil {
		return "no Redis"
	}
	return "Redis " + s.Client.Options().Addr
}

// Probe makes one round trip. Without a URL there is nothing to reach.
func (s *Store) Probe(ctx context.Context) error {
	if s.Client == nil {
		return nil
	}
	if err := s.Client.Ping(ctx).Err(); err != nil {
		return Classify(fmt.Errorf("%v: %w", s, err))
	}
	return nil
}

// Close closes all connections.
func (s *Store) Close() error {
	if s.Client == nil {
		return nil
	}
	return s.Client.Close()
}

// Classify says what a client's error means to the engine. Fatal: needs a
// person (password, right). All else is weather and passes, as does the end of
// a context.
func Classify(err error) error {
	switch {
	case stage.ClassOf(err) != stage.Retryable:
		return err
	case redis.IsAuthError(err):
		return stage.Fatal(fmt.Errorf("%w; check user and password in url", err))
	case redis.HasErrorPrefix(err, "NOPERM"):
		return stage.Fatal(fmt.Errorf("%w; grant it to the user in url", err))
	default:
		return err
	}
}

// measure registers the gauge of connections by state.
func (s *Store) measure(metrics prometheus.Registerer) error {
	for state, read := range map[string]func(*redis.PoolStats) uint32{
		"open": func(p *redis.PoolStats) uint32 { return p.TotalConns },
		"idle": func(p *redis.PoolStats) uint32 { return p.IdleConns },
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "redis_pool_connections", Help: "Connections to Redis by state.",
			ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(read(s.Client.PoolStats())) })
		if err := metrics.Register(gauge); err != nil {
			return fmt.Errorf("registering redis_pool_connections: %w", err)
		}
	}
	return nil
}
