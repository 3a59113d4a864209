package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/engine/stage"
)

// listener is an address of ours, with the paths of the sources that share it.
type listener struct {
	key    string // in listeners
	terms  terms
	net    net.Listener
	server *http.Server
	keeper *keeper
	served sync.WaitGroup // until the server has ended
	users  int            // under listeners.mu
	paths  atomic.Pointer[map[string]http.Handler]
}

// terms are the settings that sources which share an address must agree on.
type terms struct {
	tls         TLS
	read, idle  stage.Duration
	header      stage.Size
	connections int
}

const sameTerms = "tls, read_timeout, idle_timeout, max_header and max_connections must be the same"

func (c *Config) terms() terms {
	return terms{c.TLS, c.ReadTimeout, c.IdleTimeout, c.MaxHeader, c.MaxConnections}
}

const (
	headerTimeout = 10 * time.Second // for the header of a request
	writeTimeout  = 10 * time.Second // for an answer, when it is time
)

// listeners are those of this process. Stages are opened one by one and know
// nothing of each other: this is where those of one address meet.
var listeners = struct {
	mu  sync.Mutex
	all map[string]*listener
}{all: map[string]*listener{}}

var errTaken = errors.New("cannot share the address")

// share serves paths at the configured address.
func share(c *Config, s stage.Settings, routes map[string]http.Handler) (*listener, error) {
	listeners.mu.Lock()
	defer listeners.mu.Unlock()
	wants := c.terms()
	key := s.Pipeline + " " + c.Listen
	l := listeners.all[key]
	switch {
	case strings.HasSuffix(c.Listen, ":0"):
		l, key = nil, "" // any free port, which nobody else can mean
	case l != nil && l.terms != wants:
		return nil, fmt.Errorf("%w %s with another source: %s", errTaken, c.Listen, sameTerms)
	}
	if l == nil {
		var err error
		if l, err = open(c, s, wants); err != nil {
			return nil, err
		}
		l.key = key
	}
	if err := l.join(routes, c.Listen); err != nil {
		return nil, err
	}
	if key != "" {
		listeners.all[key] = l
	}
	return l, nil
}

// open begins to listen.
func open(c *Config, s stage.Settings, t terms) (*listener, error) {
	secure, err := newKeyPair(c.TLS, s.Log)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	socket, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &listener{terms: t, net: socket}
	l.paths.Store(&map[string]http.Handler{})
	read, idle := c.ReadTimeout.Std(), c.IdleTimeout.Std()
	l.keeper = newKeeper(socket.Addr(), c.MaxConnections, idle-asideAfter)
	if secure == nil && l.keeper.idle > 0 {
		idle = asideAfter // for the server
	}
	l.server = &http.Server{
		Handler:           l,
		ReadTimeout:       read,
		ReadHeaderTimeout: min(read, headerTimeout),
		WriteTimeout:      read + writeTimeout,
		IdleTimeout:       idle,
		MaxHeaderBytes:    int(c.MaxHeader),
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	front := door{socket.(*net.TCPListener), l.keeper}
	if secure != nil {
		l.server.TLSConfig = &tls.Config{GetCertificate: secure.get}
		l.serve(s, func() error { return l.server.ServeTLS(front, "", "") })
	} else {
		if l.keeper.idle > 0 {
			l.server.ConnState = l.keeper.watch
		}
		l.serve(s, func() error { return l.server.Serve(front) })
		l.serve(s, func() error { return l.server.Serve(l.keeper) })
	}
	s.Log.Info("listening", "address", l.address())
	return l, nil
}

// serve runs until the server is closed.
func (l *listener) serve(s stage.Settings, run func() error) {
	l.served.Go(func() {
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("the HTTP server has ended", "listen", l.address(), "error", err)
		}
	})
}

// join adds paths. Called with listeners.mu held.
func (l *listener) join(routes map[string]http.Handler, address string) error {
	all := maps.Clone(*l.paths.Load())
	for path, handler := range routes {
		if all[path] != nil {
			return fmt.Errorf("%w %s: %s is served by another source", errTaken, address, path)
		}
		all[path] = handler
	}
	l.paths.Store(&all)
	l.users++
	return nil
}

// leave takes the paths of a source back when its requests are answered. The
// last one to leave closes the address.
func (l *listener) leave(ctx context.Context, paths []string, answered func(context.Context)) {
	answered(ctx)
	listeners.mu.Lock()
	rest := maps.Clone(*l.paths.Load())
	for _, path := range paths {
		delete(rest, path)
		delete(rest, path+"/batch")
		delete(rest, path+"/health")
	}
	l.paths.Store(&rest)
	l.users--
	last := l.users == 0
	if last {
		delete(listeners.all, l.key)
	}
	listeners.mu.Unlock()
	if !last {
		return
	}
	soon, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if l.server.Shutdown(soon) != nil {
		_ = l.server.Close() // those that are left send, and have been for long enough
	}
	l.served.Wait()
	l.keeper.waiting.Wait()
}

// ServeHTTP finds the handler of a path.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all := *l.paths.Load()
	if h := all[r.URL.Path]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	nothingHere(w, r, slices.Sorted(maps.Keys(all)))
}

func (l *listener) address() string { return l.net.Addr().String() }
