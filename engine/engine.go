package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// Engine is one run of one pipeline.
type Engine struct {
	pipeline *config.Pipeline
	log      *slog.Logger
	around   *surroundings
	routes   []*route
	started  time.Time
	drain    context.Context // ends when what is left has to be given back
	abort    context.CancelFunc
	hurried  atomic.Bool   // Abort was called
	enough   chan struct{} // has something when nobody wants more of what a route brings

	mu        sync.Mutex
	resources []opened

	steering sync.Mutex
	stopping bool // nothing is paused or resumed any more
}

// New takes the pipeline's state directory and opens its resources. Nothing is
// read or written before Run. Close an Engine that is not run.
func New(ctx context.Context, p *config.Pipeline, log *slog.Logger) (*Engine, error) {
	dir, err := takeState(ctx, p, log)
	if err != nil {
		return nil, err
	}
	around := newSurroundings(p.Name, log, dir)
	if around.folder, err = folderOf(p); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	e := &Engine{pipeline: p, log: log, around: around, started: time.Now(), enough: make(chan struct{}, 1)}
	e.resources, err = e.around.openResources(ctx, p)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	e.around.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// The drain context of all routes: a run ends by stopping them, not by
	// ending ctx, whose end would cut them off.
	e.drain, e.abort = context.WithCancel(context.WithoutCancel(ctx))
	e.makeRoutes(e.drain)
	e.around.registry.MustRegister(routeCollector{e}, spoolCollector{e})
	e.warnOfSpools(ctx)
	return e, nil
}

func (e *Engine) makeRoutes(drain context.Context) {
	feeds := make(map[string]*feed)
	for i := range e.pipeline.Routes {
		if r := &e.pipeline.Routes[i]; r.Source == nil {
			feeds[r.Name] = newFeed()
		}
	}
	stats := newStageMetrics(e.around.registry, e.pipeline.Name)
	byName := make(map[string]*route)
	for i := range e.pipeline.Routes {
		cfg := &e.pipeline.Routes[i]
		r := newRoute(drain, cfg, wiring{around: e.around, route: cfg, feeds: feeds, stats: stats.of(cfg.Name)}, e.log)
		r.enough = e.enough
		e.routes = append(e.routes, r)
		byName[cfg.Name] = r
	}
	for name, before := range upstream(e.pipeline) {
		for _, up := range before {
			byName[name].upstream = append(byName[name].upstream, byName[up])
		}
	}
}

// Pipeline is what the engine runs.
func (e *Engine) Pipeline() *config.Pipeline { return e.pipeline }

// Registry is where all metrics of the run are.
func (e *Engine) Registry() *prometheus.Registry { return e.around.registry }

// Mounts is what the stages serve over HTTP.
func (e *Engine) Mounts() *Mounts { return e.around.mounts }

// Run runs the pipeline until every route has come to its end or is parked, or
// until ctx ends: then it drains for as long as the pipeline's drain_timeout. A
// parked route keeps the others running, but when none is left there is nothing
// to wait for: whoever restarts the process tries again. When the reader of the
// standard output has gone, Run drains as well. It closes everything.
// The error tells what did not go as it should; see NotDrainedError and
// ParkedError. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	ctx, end := context.WithCancel(ctx)
	defer end()
	for _, r := range e.routes {
		running.Go(r.run)
		running.Go(func() { e.follow(ctx, r) })
	}
	ended := make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	select {
	case <-ended: // finished, or all that are left are parked
	case <-ctx.Done():
		e.stop(ended)
	case <-e.enough:
		end()
		e.stop(ended)
	}
	select {
	case <-ended:
		return errors.Join(e.verdict(), e.Close())
	case <-e.lostPatience():
		// Closing what a stage still uses would make it worse; the process ends.
		return e.stuck()
	}
}

// lostPatience is closed when the drain was cut off and the stages have had
// more than the time to give back and close.
func (e *Engine) lostPatience() <-chan struct{} {
	lost := make(chan struct{})
	context.AfterFunc(e.drain, func() {
		time.AfterFunc(2*closeTimeout, func() { close(lost) })
	})
	return lost
}

func (e *Engine) stuck() error {
	var names []string
	for _, r := range e.routes {
		select {
		case <-r.done:
		default:
			names = append(names, r.cfg.Name)
		}
	}
	return &NotStoppedError{names}
}

// stop stops the routes that nothing feeds; the others follow by themselves.
// A pause holds: a paused route does not read up to the end of what it follows.
// Those that have not ended in time are cut off.
func (e *Engine) stop(ended <-chan struct{}) {
	e.steering.Lock()
	e.stopping = true
	e.steering.Unlock()
	for _, r := range e.routes {
		paused := !r.valve.since().IsZero()
		if paused && len(r.upstream) > 0 {
			r.log.Info("the route is paused: what waits for it stays where it comes from, for the next start")
		}
		if paused || len(r.upstream) == 0 {
			r.stop()
		}
	}
	late := time.After(e.pipeline.DrainTimeout * 3 / 4)
	over := time.After(e.pipeline.DrainTimeout)
	until := time.Now().Add(e.pipeline.DrainTimeout)
	waiting := time.NewTimer(drainQuiet)
	defer waiting.Stop()
	for {
		select {
		case <-ended:
			return
		case <-waiting.C:
			e.sayWaiting(until)
			waiting.Reset(drainNags)
		case <-e.drain.Done(): // by Abort: what is left is given up
			return
		case <-late:
			e.cutSpools()
		case <-over:
			e.abort()
			return
		}
	}
}

// Abort cuts the drain short: what is not settled yet is given back.
func (e *Engine) Abort() {
	e.hurried.Store(true)
	e.abort()
}

// follow ends a route when all those before it have ended. Before a stop was
// asked for, a parked route has not ended: it may come back.
func (e *Engine) follow(ctx context.Context, r *route) {
	if len(r.upstream) == 0 {
		return
	}
	for _, up := range r.upstream {
		select {
		case <-up.done:
		case <-r.done:
			return
		}
		if up.currentState() == Parked {
			select {
			case <-ctx.Done():
			case <-r.done:
				return
			}
		}
	}
	// One that is still opening gets the chance to: what was written for it
	// should arrive.
	select {
	case <-r.ready:
		r.finish()
	case <-r.done:
	}
}

// Close closes an engine that was not run, and is part of Run otherwise.
func (e *Engine) Close() error {
	e.abort()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	e.mu.Lock()
	resources := e.resources
	e.resources = nil // nobody probes them any more
	e.mu.Unlock()
	return errors.Join(closeAll(ctx, resources), e.around.state.Close())
}

// ParkedError names a route that needs a person.
type ParkedError struct {
	Route string
	Err   error
}

func (e *ParkedError) Error() string { return fmt.Sprintf("route %s is parked: %v", e.Route, e.Err) }
func (e *ParkedError) Unwrap() error { return e.Err }

// NotDrainedError names the routes that were cut off before everything they
// had to do was done.
type NotDrainedError struct {
	Routes []string
	Events int64 // returned by them
	Behind int64 // that wait at their sources, unread
	Early  bool  // somebody asked to stop at once, rather than time being up
}

func (e *NotDrainedError) Error() string {
	word := "not drained in time (drain_timeout gives more)"
	if e.Early {
		word = "stopped at once"
	}
	text := fmt.Sprintf("%s: %s; %d events were given back to their sources undelivered", word, strings.Join(e.Routes, ", "), e.Events)
	if e.Behind > 0 {
		text += fmt.Sprintf(", %d wait there unread and come with the next start", e.Behind)
	}
	return text
}

// NotStartedError names a route that never ran, since something was away
// until the pipeline was stopped.
type NotStartedError struct {
	Route string
	Err   error
}

func (e *NotStartedError) Error() string {
	return fmt.Sprintf("route %s never started: %v", e.Route, e.Err)
}
func (e *NotStartedError) Unwrap() error { return e.Err }

// NotStoppedError names routes with a stage that does not come back.
type NotStoppedError struct{ Routes []string }

func (e *NotStoppedError) Error() string {
	return "given up waiting for " + strings.Join(e.Routes, ", ") + ": a stage there does not return; what it holds is not settled"
}

// verdict is the error of a run that has ended.
func (e *Engine) verdict() error {
	var errs []error
	cut := &NotDrainedError{Early: e.hurried.Load()}
	for _, r := range e.routes {
		s := r.status()
		switch {
		case s.State == Parked:
			errs = append(errs, &ParkedError{s.Name, s.Reason})
		case r.neverRan != nil:
			errs = append(errs, &NotStartedError{s.Name, r.neverRan})
		case r.wasCut && !r.unwanted():
			cut.Routes = append(cut.Routes, s.Name)
			cut.Events += s.Page.Outcomes[event.Returned]
			cut.Behind += r.waiting
		}
		if err := s.Page.Check(); err != nil {
			errs = append(errs, fmt.Errorf("route %s: %w", s.Name, err))
		}
		if r.spool != nil {
			errs = append(errs, r.spool.verdict())
		}
	}
	if len(cut.Routes) > 0 {
		errs = append(errs, cut)
	}
	return errors.Join(errs...)
}

// Probe asks every resource and every stage that has a dependency whether it
// is there.
func (e *Engine) Probe(ctx context.Context) []Component {
	e.mu.Lock()
	all := append([]opened(nil), e.resources...)
	e.mu.Unlock()
	routes := make([]string, len(all))
	for _, r := range e.routes {
		r.mu.Lock()
		for _, o := range r.instance {
			all, routes = append(all, o), append(routes, r.cfg.Name)
		}
		r.mu.Unlock()
	}
	found := make([]*Component, len(all))
	var probing sync.WaitGroup
	for i, o := range all {
		if p, ok := o.instance.(stage.Prober); ok {
			probing.Go(func() {
				start := time.Now()
				err := p.Probe(ctx)
				found[i] = &Component{Route: routes[i], Name: o.name, Kind: o.kind, Took: time.Since(start), Err: err}
			})
		}
	}
	probing.Wait()
	var list []Component
	for _, c := range found {
		if c != nil {
			list = append(list, *c)
		}
	}
	return list
}

// Component is a dependency as a probe found it.
type Component struct {
	Route string // "" for a resource
	Name  string
	Kind  stage.Kind
	Took  time.Duration
	Err   error // nil: it is there
}

// Instance is the name of this process in metrics and records.
func (e *Engine) Instance() string { return e.around.instance }

// Uptime is how long the engine has been there.
func (e *Engine) Uptime() time.Duration { return time.Since(e.started) }
