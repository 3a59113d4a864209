package limiter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/redis"
)

// server is a Redis in this process that can be reached, cut off, slowed down,
// emptied, and whose clock can be set, all in synthetic time.
type server struct {
	mu      sync.Mutex
	redis   *miniredis.Miniredis
	conns   map[net.Conn]bool
	down    bool
	latency time.Duration // of one direction
	ahead   time.Duration // of its clock
}

func init() { goredis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func newServer() *server {
	s := &server{conns: make(map[net.Conn]bool)}
	s.wipe()
	return s
}

// wipe makes the server forget everything, as a restart does.
func (s *server) wipe() {
	s.cut(func() {
		if s.redis != nil {
			s.redis.Close()
		}
		s.redis = miniredis.NewMiniRedis()
		s.redis.ClockTTL(true)
	})
}

// cut ends all connections.
func (s *server) cut(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
	do()
}

func (s *server) stop()  { s.cut(func() { s.down = true }) }
func (s *server) start() { s.cut(func() { s.down = false }) }

func (s *server) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	c, err := s.redis.Dial()
	if err != nil {
		return nil, err
	}
	s.conns[c] = true
	return &link{c, s}, nil
}

// link is a connection that takes time.
type link struct {
	net.Conn
	server *server
}

func (l *link) Write(b []byte) (int, error) {
	l.server.mu.Lock()
	latency := l.server.latency
	l.server.mu.Unlock()
	time.Sleep(latency)
	l.server.mu.Lock()
	if l.server.ahead != 0 {
		l.server.redis.SetTime(time.Now().Add(l.server.ahead))
	}
	l.server.mu.Unlock()
	return l.Conn.Write(b)
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.server.mu.Lock()
	latency := l.server.latency
	l.server.mu.Unlock()
	time.Sleep(latency)
	return n, err
}

// instance is one process of many that share a limit.
type instance struct {
	*limiter
	client *goredis.Client
	log    *strings.Builder
	got    int
}

func (s *server) instance(t testing.TB, name string, c *Config) *instance {
	t.Helper()
	c.Store, c.Resource = storeRedis, "redis"
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 && !p.Found[0].Warning {
		t.Fatalf("problems: %+v", p.Found)
	}
	i := &instance{log: new(strings.Builder), client: goredis.NewClient(&goredis.Options{
		Dialer: s.dial, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
		PipelinePoolSize: -1, PoolSize: 2, ReadTimeout: time.Second, WriteTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}
	opened, err := c.Open(context.Background(), stage.Settings{
		Pipeline: "p", Route: "r", Name: "limiter", Instance: name, Step: 3, Clock: stage.SystemClock,
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(i.log, nil)),
		Resource: func(string) (any, error) { return &redis.Store{Client: i.client}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	i.limiter = opened.(*limiter)
	return i
}

// calls is how often an instance has called Redis.
func (i *instance) calls() float64 {
	return testutil.ToFloat64(i.metrics.calls.WithLabelValues("ok")) + testutil.ToFloat64(i.metrics.calls.WithLabelValues("failed"))
}

func (i *instance) close() {
	_ = i.Close(context.Background())
	_ = i.client.Close()
}

// crash ends the process without a word to Redis.
func (i *instance) crash() {
	i.desk.lender.cancel()
	i.desk.lender.done.Wait()
	_ = i.client.Close()
}

// fleet is some instances and what they let through.
type fleet struct {
	t      *testing.T
	server *server
	config func() *Config
	sink   *sink
	all    []*instance
	stops  []context.CancelFunc
	work   sync.WaitGroup
}

func newFleet(t *testing.T, n int, config func() *Config) *fleet {
	f := &fleet{t: t, server: newServer(), config: config, sink: newSink()}
	for range n {
		f.join()
	}
	return f
}

func (f *fleet) join() *instance {
	i := f.server.instance(f.t, fmt.Sprint("i", len(f.all)), f.config())
	f.all = append(f.all, i)
	f.stops = append(f.stops, nil)
	return i
}

// drive sends batches through an instance from several goroutines until stop
// or the end of the fleet.
func (f *fleet) drive(i int, workers int, size func(n int) int, pause func(n int) time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	f.stops[i] = cancel
	in := f.all[i]
	h := in.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		f.sink.mu.Lock()
		in.got += stage.BatchOf(msg).Count(event.Open)
		f.sink.mu.Unlock()
		return f.sink.handle(msg)
	})
	for w := range workers {
		f.work.Go(func() {
			for n := w; ctx.Err() == nil; n++ {
				if run(ctx, h, batchOf(size(n))) != nil {
					return
				}
				time.Sleep(pause(n))
			}
		})
	}
}

func (f *fleet) flood(workers, size int) {
	for i := range f.all {
		f.drive(i, workers, func(int) int { return size }, func(int) time.Duration { return 0 })
	}
}

// end stops everything.
func (f *fleet) end() {
	for _, stop := range f.stops {
		if stop != nil {
			stop()
		}
	}
	f.work.Wait()
	for _, i := range f.all {
		i.close()
	}
	f.server.stop()
	f.server.redis.Close()
	time.Sleep(2 * time.Second) // in which the client notices that it is closed
}

// between is what passed between two times.
func (n naive) between(from, to time.Duration) int { return n.before(to) - n.before(from) }
