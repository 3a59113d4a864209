package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// Pause makes a route read nothing more from its source until Resume. What it
// has read goes on to be settled; the source stays open, so that a Kafka group
// keeps its members and an HTTP source can answer that it takes nothing. A
// route that others feed pushes back on them. A pause is of this run only: the
// next start knows nothing of it.
//
// A route that is paused already stays so. The error is an *UnknownRouteError,
// or a *SteerError for a route that does not read anyway.
func (e *Engine) Pause(name string) error {
	return e.steer(name, "paused", (*route).pause)
}

// Resume lets a paused route read on. The errors are those of Pause; one that
// is not paused goes on as it does.
func (e *Engine) Resume(name string) error {
	return e.steer(name, "resumed", (*route).resume)
}

// steer is done under a lock that stop takes too: nothing is paused that has
// to come to its end.
func (e *Engine) steer(name, what string, do func(*route) bool) error {
	r, err := e.find(name, what)
	if err != nil {
		return err
	}
	e.steering.Lock()
	defer e.steering.Unlock()
	if e.stopping {
		return &SteerError{name, what, Draining, "the pipeline is stopping"}
	}
	switch state := r.shownState(); state {
	case Opening, Running, Paused:
	case Parked:
		return &SteerError{name, what, state, "it reads nothing until what is wrong is mended and the pipeline is started again"}
	case Draining:
		return &SteerError{name, what, state, "it is coming to its end"}
	default:
		return &SteerError{name, what, state, "it has come to its end"}
	}
	if do(r) {
		r.log.Info("route " + what + " by hand")
	}
	return nil
}

func (e *Engine) find(name, what string) (*route, error) {
	var known []string
	for _, r := range e.routes {
		if r.cfg.Name == name {
			return r, nil
		}
		if r.spool != nil && r.spool.name() == name {
			return nil, &SteerError{name, what, Running,
				fmt.Sprintf("it is what empties the spool of route %s; spool.drain_rate bounds it", r.cfg.Name)}
		}
		known = append(known, r.cfg.Name)
	}
	return nil, &UnknownRouteError{name, known}
}

// UnknownRouteError says that a pipeline has no route of a name.
type UnknownRouteError struct {
	Route string
	Known []string
}

func (e *UnknownRouteError) Error() string {
	return fmt.Sprintf("no route %q%s", e.Route, config.DidYouMean(e.Route, "routes", e.Known))
}

// SteerError says that a route cannot be paused or resumed as it is.
type SteerError struct {
	Route string
	What  string // paused, resumed
	State State
	Why   string
}

func (e *SteerError) Error() string {
	if e.State == Running {
		return fmt.Sprintf("%s cannot be %s: %s", e.Route, e.What, e.Why)
	}
	return fmt.Sprintf("route %s cannot be %s: it is %s, and %s", e.Route, e.What, e.State, e.Why)
}

func (r *route) pause() (changed bool)  { return r.valve.shut(time.Now()) }
func (r *route) resume() (changed bool) { return r.valve.open() }

// shownState is the state that a route shows. One that is told to stop is not
// paused any more, although its valve stays shut: what is behind it waits for
// the next start.
func (r *route) shownState() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown()
}

// shown is shownState with mu held.
func (r *route) shown() State {
	if (r.state == Running || r.state == Draining) && r.opening.Err() == nil && !r.valve.since().IsZero() {
		return Paused
	}
	return r.state
}

// valve stands between a source and its batches. Shut, it ends the Read that is
// under way, as a stop would, and begins no other: sources are read again after
// they were told to stop.
type valve struct {
	source stage.Reader // set before the first Read

	mu      sync.Mutex
	opened  chan struct{} // closed when the valve is opened; nil: it is open
	at      time.Time     // when it was shut
	reading context.Context
	told    context.CancelFunc // ends reading
}

// shut shuts the valve. It tells whether it was open.
func (v *valve) shut(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened != nil {
		return false
	}
	v.opened, v.at = make(chan struct{}), now
	if v.told != nil {
		v.told()
	}
	return true
}

// open opens the valve. It tells whether it was shut.
func (v *valve) open() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened == nil {
		return false
	}
	close(v.opened)
	v.opened, v.at = nil, time.Time{}
	return true
}

// since is when the valve was shut; zero: it is open.
func (v *valve) since() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

// Read reads the source while the valve is open. A source that was told of a
// shut valve is asked until it has no more than that to say: it may have taken
// responsibility for events meanwhile, which go on.
func (v *valve) Read(ctx context.Context) (event.Parcel, error) {
	for {
		reading, opened := v.begin(ctx)
		if reading == nil {
			select {
			case <-opened:
				continue
			case <-ctx.Done():
				return event.Parcel{}, ctx.Err()
			}
		}
		p, err := v.source.Read(reading)
		shut := reading.Err() != nil && ctx.Err() == nil
		if shut && err != nil {
			v.end(reading)
		}
		if !shut || err == nil || len(p.Events) > 0 || errors.Is(err, io.EOF) || stage.ClassOf(err) == stage.Unfixable {
			return p, err
		}
	}
}

// begin is the context for a Read; nil: the source has to be left alone until
// opened is closed.
func (v *valve) begin(ctx context.Context) (reading context.Context, opened <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reading == nil && v.opened == nil {
		v.reading, v.told = context.WithCancel(ctx)
	}
	return v.reading, v.opened
}

// end notes that the source has heard that it is to stop.
func (v *valve) end(reading context.Context) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reading == reading {
		v.told()
		v.reading, v.told = nil, nil
	}
}

// Close is not called: the source is closed as it was opened, by its route.
func (v *valve) Close(context.Context) error { return nil }
