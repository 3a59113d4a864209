// Package control is what a running engine shows and takes over HTTP on the
// pipeline's `listen` address: health, metrics, profiles, the state of the
// routes, and what stages mount.
//
//	/healthz                       200 while the process lives
//	/readyz                        200 when every route runs, else 503 and why; one
//	                               with a spool runs while its sink is away, and
//	                               one that is paused by hand counts as running
//	/metrics                       Prometheus
//	/debug/pprof/                  Go profiles
//	/actuator/health               every dependency, probed now; 503 when one is down
//	/actuator/health/liveness      as /healthz
//	/actuator/health/readiness     as /readyz
//	/actuator/prometheus           as /metrics
//	/actuator/metrics[/{name}]     the same numbers in the actuator's own form
//	/consumer/health               as /actuator/health
//	/actuator/info                 what runs here
//	/api/v1/routes[/{name}]        the routes, their books and stages
//	/api/v1/routes/{name}/pause    POST: it reads nothing more until /resume
//
// With a token set, everything under /api and /debug and all that stages mount
// needs it as `Authorization: Bearer …`. Health and metrics are open to probes
// and scrapers, but why something is down is told with the token only: errors
// name users, hosts and databases. Without a token, which only an engine on a
// loopback address can be, requests must name it by an IP address or as
// localhost: any other name could be a trick of a web page.
package control

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"millrace/engine"
)

// probeTimeout bounds a deep health check: what has not answered by then is down.
const probeTimeout = 2 * time.Second

// Handler serves a running engine. version is what /actuator/info tells.
func Handler(e *engine.Engine, version string) http.Handler {
	c := &control{engine: e, version: version}
	metrics := promhttp.HandlerFor(e.Registry(), promhttp.HandlerOpts{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", c.live)
	mux.HandleFunc("GET /readyz", c.ready)
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /actuator/health", c.health)
	mux.HandleFunc("GET /actuator/health/liveness", c.live)
	mux.HandleFunc("GET /actuator/health/readiness", c.ready)
	mux.Handle("GET /actuator/prometheus", metrics)
	mux.HandleFunc("GET /actuator/metrics", c.meters)
	mux.HandleFunc("GET /actuator/metrics/{name}", c.meter)
	mux.HandleFunc("GET /consumer/health", c.health)
	mux.HandleFunc("GET /actuator/info", c.info)
	mux.HandleFunc("GET /api/v1/routes", c.routes)
	mux.HandleFunc("GET /api/v1/routes/{name}", c.route)
	mux.HandleFunc("/api/v1/routes/{name}/pause", c.steer(e.Pause))
	mux.HandleFunc("/api/v1/routes/{name}/resume", c.steer(e.Resume))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", c.mounted)
	return c.protect(mux)
}

type control struct {
	engine  *engine.Engine
	version string
}

// protect asks for the token where one is needed, and refuses requests that a
// web page of somebody else makes a browser send here.
func (c *control) protect(next http.Handler) http.Handler {
	open := []string{"/healthz", "/readyz", "/metrics", "/actuator/", "/consumer/health"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.engine.Pipeline().Token == "" && rebound(r) {
			answer(w, http.StatusMisdirectedRequest, map[string]any{"error": misdirected})
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && r.Method != http.MethodGet && !sameOrigin(origin, r.Host) {
			answer(w, http.StatusForbidden, map[string]any{"error": "requests from other origins are refused"})
			return
		}
		for _, p := range open {
			if r.URL.Path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(r.URL.Path, p) {
				next.ServeHTTP(w, r)
				return
			}
		}
		if !c.trusts(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, map[string]any{"error": "this needs the pipeline's token: Authorization: Bearer …"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trusts reports whether a request has the token, where one is set.
func (c *control) trusts(r *http.Request) bool {
	token := c.engine.Pipeline().Token.Reveal()
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token == "" || ok && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// mounted serves what stages mounted, and says what else there is. While a
// source may still mount its path, or has given it up, nobody is told that there
// is no such path: a client would take that for a mistake of its own, and not
// try again.
func (c *control) mounted(w http.ResponseWriter, r *http.Request) {
	if h := c.engine.Mounts().Find(r.URL.Path); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	if name, state := c.engine.Absent(); name != "" && r.URL.Path != "/" {
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, map[string]any{"pipeline": c.engine.Pipeline().Name,
			"error": fmt.Sprintf("nothing is served at %s at the moment: route %s is %s", r.URL.Path, name, state)})
		return
	}
	status := http.StatusOK
	body := map[string]any{
		"pipeline": c.engine.Pipeline().Name,
		"paths": append([]string{"/healthz", "/readyz", "/metrics", "/actuator/health", "/actuator/metrics", "/actuator/prometheus", "/actuator/info",
			"/consumer/health", "/api/v1/routes", "/debug/pprof/"}, c.engine.Mounts().Paths()...),
	}
	if r.URL.Path != "/" {
		status = http.StatusNotFound
		body["error"] = "nothing is served at " + r.URL.Path
	}
	answer(w, status, body)
}

func (c *control) live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"status": "UP"})
}

func (c *control) ready(w http.ResponseWriter, r *http.Request) {
	status, word := http.StatusOK, "UP"
	if !c.engine.Ready() {
		status, word = http.StatusServiceUnavailable, "DOWN"
	}
	routes := make(map[string]any)
	for _, s := range c.engine.Status() {
		routes[s.Name] = c.state(&s, r)
	}
	answer(w, status, map[string]any{"status": word, "routes": routes})
}

func (c *control) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	status, word := http.StatusOK, "UP"
	components := make(map[string]any)
	down := func() { status, word = http.StatusServiceUnavailable, "DOWN" }
	for _, p := range c.engine.Probe(ctx) {
		name := p.Name
		if p.Route != "" {
			name = p.Route + "." + p.Name
		}
		details := map[string]any{"latency_ms": milliseconds(p.Took)}
		component := map[string]any{"status": "UP", "details": details}
		if p.Err != nil {
			down()
			component["status"] = "DOWN"
			if c.trusts(r) {
				details["error"] = p.Err.Error()
			}
		}
		components[name] = component
	}
	for _, s := range c.engine.Status() {
		component := map[string]any{"status": "UP", "details": c.state(&s, r)}
		if s.State == engine.Parked || s.State == engine.Opening {
			down()
			component["status"] = "DOWN"
		}
		components["route."+s.Name] = component
	}
	answer(w, status, map[string]any{"status": word, "components": components})
}

func (c *control) info(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"app":      map[string]any{"name": "millrace", "version": c.version, "instance": c.engine.Instance()},
		"pipeline": map[string]any{"name": c.engine.Pipeline().Name, "file": c.engine.Pipeline().File},
		"runtime": map[string]any{"go": runtime.Version(), "cores": runtime.GOMAXPROCS(0),
			"uptime_s": int64(c.engine.Uptime().Seconds())},
	})
}

func (c *control) routes(w http.ResponseWriter, r *http.Request) {
	list := []any{}
	for _, s := range c.engine.Status() {
		list = append(list, c.describe(&s, r))
	}
	answer(w, http.StatusOK, map[string]any{"pipeline": c.engine.Pipeline().Name, "routes": list})
}

func (c *control) route(w http.ResponseWriter, r *http.Request) {
	var known []string
	for _, s := range c.engine.Status() {
		if s.Name == r.PathValue("name") {
			answer(w, http.StatusOK, c.describe(&s, r))
			return
		}
		known = append(known, s.Name)
	}
	unknown := &engine.UnknownRouteError{Route: r.PathValue("name"), Known: known}
	answer(w, http.StatusNotFound, map[string]any{"error": unknown.Error()})
}

// steer pauses or resumes a route, and answers with how it is then: 404 when
// there is none of that name, 409 when it reads nothing anyway.
func (c *control) steer(do func(route string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			answer(w, http.StatusMethodNotAllowed, map[string]any{"error": "the method must be POST, got " + strconv.Quote(r.Method)})
			return
		}
		if err := do(r.PathValue("name")); errors.As(err, new(*engine.SteerError)) {
			answer(w, http.StatusConflict, map[string]any{"error": err.Error()})
			return
		}
		c.route(w, r)
	}
}

func (c *control) state(s *engine.RouteStatus, r *http.Request) map[string]any {
	m := map[string]any{"state": s.State}
	switch {
	case s.State == engine.Paused:
		m["reason"], m["paused_since"] = "paused by hand", s.Since.UTC().Truncate(time.Second)
	case s.Reason != nil && c.trusts(r):
		m["reason"] = s.Reason.Error()
	}
	return m
}

func (c *control) describe(s *engine.RouteStatus, r *http.Request) map[string]any {
	m := c.state(s, r)
	m["name"] = s.Name
	m["books"] = engine.BooksOf(s.Page)
	m["queued"] = s.Queued
	m["latency_ms"] = engine.LatencyOf(s.Latencies)
	stages := []any{}
	for _, st := range s.Stages {
		stages = append(stages, map[string]any{"name": st.Name, "kind": st.Kind, "stage": st.Stage, "status": st.Values})
	}
	m["stages"] = stages
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// answer writes a JSON answer with its length, for clients that cannot read
// chunks.
func answer(w http.ResponseWriter, status int, body any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client has gone; nobody is left to tell
}
