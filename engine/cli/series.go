package cli

import (
	"time"

	"millrace/engine"
	"millrace/engine/stage"
)

const (
	seriesEvery = time.Second
	// seriesMost bounds a series: when it is full, every two of its values
	// become one, so that a week fits as well as a minute.
	seriesMost = 7200
)

// recorder writes down, second by second, what the loaded routes of a run were
// offered and what came of it, for --report.
type recorder struct {
	status func() []engine.RouteStatus
	routes map[string]*recording
	stop   chan struct{}
	ended  chan struct{}
}

// recording is the series of one route.
type recording struct {
	engine.Series
	due, in int64     // events, at the last tick
	pending []float64 // values that wait to become one: offered, achieved
	each    int       // ticks that become one value
	ticks   int
}

// record starts to record a run; finish ends it.
func record(e *engine.Engine) *recorder {
	r := &recorder{status: e.Status, routes: map[string]*recording{}, stop: make(chan struct{}), ended: make(chan struct{})}
	go r.run()
	return r
}

func (r *recorder) run() {
	defer close(r.ended)
	tick := time.NewTicker(seriesEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			r.look(now.Sub(last))
			last = now
		}
	}
}

// look adds the rates of the time since the last look.
func (r *recorder) look(since time.Duration) {
	for _, s := range r.status() {
		due, ok := dueAt(&s)
		rec := r.routes[s.Name]
		if rec == nil && !ok {
			continue
		}
		if rec == nil {
			rec = &recording{Series: engine.Series{EveryS: seriesEvery.Seconds()}, pending: make([]float64, 2), each: 1}
			r.routes[s.Name] = rec
		}
		if due < rec.due { // the route was opened anew, and counts from there
			rec.due = 0
		}
		switch {
		case !ok && (s.State == engine.Parked || s.State == engine.Opening):
			rec.add(0, 0)
		case ok: // one that has ended has no more to tell
			rec.add(float64(due-rec.due)/since.Seconds(), float64(s.Page.In-rec.in)/since.Seconds())
			rec.due, rec.in = due, s.Page.In
		}
	}
}

// dueAt is how many events a route's source was ever asked for, if it keeps to
// a load.
func dueAt(s *engine.RouteStatus) (int64, bool) {
	for _, st := range s.Stages {
		if v, ok := st.Values["due"].(int64); ok && st.Kind == stage.KindSource {
			return v, true
		}
	}
	return 0, false
}

func (r *recording) add(offered, achieved float64) {
	r.pending[0] += offered
	r.pending[1] += achieved
	if r.ticks++; r.ticks < r.each {
		return
	}
	n := float64(r.each)
	r.Offered, r.Achieved = append(r.Offered, r.pending[0]/n), append(r.Achieved, r.pending[1]/n)
	r.pending[0], r.pending[1], r.ticks = 0, 0, 0
	if len(r.Offered) == seriesMost {
		r.Offered, r.Achieved = halve(r.Offered), halve(r.Achieved)
		r.each *= 2
		r.EveryS *= 2
	}
}

func halve(values []float64) []float64 {
	for i := range len(values) / 2 {
		values[i] = (values[2*i] + values[2*i+1]) / 2
	}
	return values[:len(values)/2]
}

// finish ends the recording, if there is one, and puts it into the report.
func (r *recorder) finish(into *engine.Report) {
	if r == nil {
		return
	}
	close(r.stop)
	<-r.ended
	for name, rec := range r.routes {
		if route, ok := into.Routes[name]; ok && len(rec.Offered) > 0 {
			route.Load = &rec.Series
			into.Routes[name] = route
		}
	}
}
