package http

import (
	"context"
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
	served chan struct{} // closed when the server has ended
	conns  atomic.Int64
	users  int // under listeners.mu
	paths  atomic.Pointer[map[string]http.Handler]
}

// terms are the settings that sources which share an address must agree on.
type terms struct {
	tls         TLS
	read, idle  stage.Duration
	header      stage.Size
	connections int
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
	wants := terms{c.TLS, c.ReadTimeout, c.IdleTimeout, c.MaxHeader, c.MaxConnections}
	key := s.Pipeline + " " + c.Listen
	l := listeners.all[key]
	switch {
	case strings.HasSuffix(c.Listen, ":0"):
		l, key = nil, "" // any free port, which nobody else can mean
	case l != nil && l.terms != wants:
		return nil, fmt.Errorf("%w %s with another source: tls, timeouts, max_header and max_connections must be the same", errTaken, c.Listen)
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
	socket, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &listener{terms: t, net: socket, served: make(chan struct{})}
	l.paths.Store(&map[string]http.Handler{})
	read := c.ReadTimeout.Std()
	l.server = &http.Server{
		Handler:           l,
		ReadTimeout:       read,
		ReadHeaderTimeout: min(read, headerTimeout),
		WriteTimeout:      read + writeTimeout,
		IdleTimeout:       c.IdleTimeout.Std(),
		MaxHeaderBytes:    int(c.MaxHeader),
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ConnState:         l.count,
	}
	go func() {
		defer close(l.served)
		if c.TLS.Cert != "" {
			err = l.server.ServeTLS(socket, string(c.TLS.Cert), string(c.TLS.Key))
		} else {
			err = l.server.Serve(socket)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("the HTTP server has ended", "listen", c.Listen, "error", err)
		}
	}()
	s.Log.Info("listening", "address", l.address())
	return l, nil
}

// count closes the connections that are too many.
func (l *listener) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if l.conns.Add(1) > int64(l.terms.connections) {
			_ = c.Close() // nothing was promised to it
		}
	case http.StateClosed, http.StateHijacked:
		l.conns.Add(-1)
	}
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
	<-l.served
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
