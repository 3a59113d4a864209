package top

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/engine/cli/remote"
	"millrace/engine/load"
	"millrace/engine/load/plot"
)

// Frame is what happened between two samples.
type Frame struct {
	At       time.Time
	Pipeline string
	Routes   []Route
}

// Route is a route in a frame. Rates are per second, times seconds; of what is
// not known, below 0.
type Route struct {
	Name, State, Reason      string
	Paused                   time.Time // since when; zero: it is not
	Offered, In, Out, Batch  float64
	P50, P99                 float64 // from when events were due to when they were settled
	ServiceP50, ServiceP99   float64 // of a batch, in the stages of the route
	InFlight, Queued         int64
	Lag                      int64
	Poisoned, Shed, Rejected int64
	Diverted                 int64
	Spool                    bool // it is the drain of a spool
	Load                     *load.Report
	Stages                   []Stage
}

// Stage is a stage in a frame.
type Stage struct {
	Name, Kind, Stage string
	Events, Errors    float64
	P50, P99          float64
	Shows             string // of itself
	Breaker           string // path of a breaker's API
	State             string // of a breaker
}

// unknown is what there is no number for.
const unknown = -1

// compare makes a frame of two samples; the same one twice has no rates.
func compare(last, now Sample) Frame {
	f := Frame{At: now.At, Pipeline: now.Routes.Pipeline}
	before := map[string]remote.Route{}
	for _, r := range last.Routes.Routes {
		before[r.Name] = r
	}
	seconds := now.At.Sub(last.At).Seconds()
	for i := range now.Routes.Routes {
		r := &now.Routes.Routes[i]
		f.Routes = append(f.Routes, routeOf(r, before[r.Name], last, now, seconds))
	}
	return f
}

func routeOf(r *remote.Route, was remote.Route, last, now Sample, seconds float64) Route {
	b, w := r.Books, was.Books
	out := Route{
		Name: r.Name, State: r.State, Reason: r.Reason, Paused: r.Paused, Offered: unknown, Lag: unknown,
		In: rate(float64(b.In), float64(w.In), seconds), Out: rate(float64(b.Delivered), float64(w.Delivered), seconds), Batch: unknown,
		InFlight: b.InFlight, Queued: r.Queued, Poisoned: b.Poisoned, Shed: b.Shed, Rejected: b.Rejected, Diverted: b.Diverted,
		Spool: strings.HasSuffix(r.Name, ".spool"),
	}
	if n := b.Batches - w.Batches; n > 0 && seconds > 0 {
		out.Batch = float64(b.In-w.In) / float64(n)
	}
	out.P50, out.P99 = spread(now, last, meterKey{route: r.Name})
	out.ServiceP50, out.ServiceP99 = unknown, unknown
	if report, ok := now.Loads[r.Name]; ok {
		out.Load, out.Offered = &report, report.Offered
	}
	for _, s := range r.Stages {
		if lag, ok := s.Status["lag"].(float64); ok && s.Kind == "source" {
			out.Lag = int64(lag)
		}
		st := stageOf(r.Name, s, last, now, seconds)
		if out.ServiceP99 < 0 && s.Kind != "source" { // the outermost: all others are within
			out.ServiceP50, out.ServiceP99 = st.P50, st.P99
		}
		out.Stages = append(out.Stages, st)
	}
	return out
}

func stageOf(route string, s remote.Stage, last, now Sample, seconds float64) Stage {
	key := meterKey{route, s.Name}
	m, was := now.Meters[key], last.Meters[key]
	out := Stage{
		Name: s.Name, Kind: s.Kind, Stage: s.Stage, Shows: shows(s), Events: unknown, Errors: unknown,
	}
	if _, ok := now.Meters[key]; ok && s.Kind != "source" {
		out.Events, out.Errors = rate(m.events, was.events, seconds), rate(m.errors, was.errors, seconds)
	}
	out.P50, out.P99 = spread(now, last, key)
	if path, ok := s.Status["path"].(string); ok && s.Stage == "breaker" {
		out.Breaker = path
		out.State, _ = s.Status["state"].(string)
	}
	return out
}

// rate is by how much a count grew per second. A count that has become less
// is another run's.
func rate(now, last, seconds float64) float64 {
	if seconds <= 0 {
		return unknown
	}
	if now < last {
		last = 0
	}
	return (now - last) / seconds
}

func spread(now, last Sample, key meterKey) (p50, p99 float64) {
	h := now.Meters[key].times.since(last.Meters[key].times)
	p50, ok := h.quantile(.5)
	if !ok || now.At.Equal(last.At) {
		return unknown, unknown
	}
	p99, _ = h.quantile(.99)
	return p50, p99
}

// shows is what a stage tells of itself, without what is nothing.
func shows(s remote.Stage) string {
	if s.Stage == "breaker" {
		return breakerShows(s)
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s.Status)) {
		if s.Kind == "source" && slices.Contains([]string{"due", "lag", "offered"}, key) {
			continue // the route's row has it
		}
		name := strings.ReplaceAll(key, "_", " ")
		switch v := s.Status[key].(type) {
		case float64:
			if v > 0 {
				parts = append(parts, name+" "+plot.Number(v))
			}
		case string:
			if key != "path" && v != "" {
				parts = append(parts, name+" "+v)
			}
		case bool:
			if v && key != "running" {
				parts = append(parts, name)
			}
		}
	}
	return strings.Join(parts, ", ")
}

func breakerShows(s remote.Stage) string {
	state, _ := s.Status["state"].(string)
	text := state
	for _, part := range []struct{ key, name, unit string }{
		{"failure_rate", "failures", "%"}, {"slow_call_rate", "slow", "%"},
		{"waiting", "waiting", ""}, {"not_permitted", "not permitted", ""},
	} {
		if v, ok := s.Status[part.key].(float64); ok && v > 0 {
			text += fmt.Sprintf(", %s %s%s", part.name, plot.Number(v), part.unit)
		}
	}
	return text
}
