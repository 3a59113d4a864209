package engine

import (
	"time"

	"millrace/engine/books"
	"millrace/engine/stage"
)

// RouteStatus is a route at one moment.
type RouteStatus struct {
	Name      string
	State     State
	Reason    error     // why it is parked, or not running yet
	Since     time.Time // of a paused route: when it was paused
	Page      books.Page
	Queued    int64 // events that wait for a batch
	Latencies books.Latencies
	Stages    []StageStatus // in the order in which they were opened: sinks first, the source last
}

// StageStatus is what one stage has to show.
type StageStatus struct {
	Name   string
	Kind   stage.Kind
	Stage  string // catalogue name
	Values map[string]any
}

// Lag is how many events wait at the source, where it knows.
func (s *RouteStatus) Lag() (int64, bool) {
	for _, st := range s.Stages {
		if lag, ok := st.Values["lag"].(int64); ok && st.Kind == stage.KindSource {
			return lag, true
		}
	}
	return 0, false
}

// Status is the state of every route, in file order. The drain of a route's
// spool comes after it, as a route of its own: "orders.spool".
func (e *Engine) Status() []RouteStatus {
	list := make([]RouteStatus, 0, len(e.routes))
	for _, r := range e.routes {
		s := r.status()
		list = append(list, s)
		if r.spool != nil {
			list = append(list, r.spool.status(s))
		}
	}
	return list
}

// Ready reports whether every route runs or has come to its end. While what is
// behind a spool is away, the route runs: it takes events. A paused route is
// ready too: nothing is wrong, and an orchestrator that took the process out of
// service would take away the address at which it is resumed.
func (e *Engine) Ready() bool {
	for _, r := range e.routes {
		if s := r.currentState(); s == Opening || s == Parked || r.spool != nil && r.spool.parked() {
			return false
		}
	}
	return true
}

// Absent names a route whose stages are not all there, since they are being
// opened, it is parked or was stopped, and its state; "" if there is none.
func (e *Engine) Absent() (route string, state State) {
	for _, r := range e.routes {
		if s := r.currentState(); s == Opening || s == Parked || s == Stopped {
			return r.cfg.Name, s
		}
	}
	return "", ""
}

func (r *route) currentState() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *route) status() RouteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := RouteStatus{Name: r.cfg.Name, State: r.shown(), Reason: r.reason, Latencies: r.books.Latencies()}
	if s.State == Paused {
		s.Since = r.valve.since()
	}
	if r.sub != nil {
		s.Queued = r.sub.Queued()
	}
	for _, o := range r.instance {
		values := map[string]any{}
		if st, ok := o.instance.(stage.Statuser); ok {
			values = st.Status()
		}
		s.Stages = append(s.Stages, StageStatus{Name: o.name, Kind: o.kind, Stage: o.stage, Values: values})
	}
	if r.instance != nil {
		r.noteLost()
	}
	s.Page = r.books.Page()
	return s
}

// source is what the route's source shows.
func (s *RouteStatus) source() map[string]any {
	for _, st := range s.Stages {
		if st.Kind == stage.KindSource {
			return st.Values
		}
	}
	return nil
}
