package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"millrace/engine"
	"millrace/engine/cli/visible"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// dlqRoute is a route of a running engine.
type dlqRoute struct {
	Name   string       `json:"name"`
	State  engine.State `json:"state"`
	Reason string       `json:"reason"`
	Stages []struct {
		Name string     `json:"name"`
		Kind stage.Kind `json:"kind"`
	} `json:"stages"`

	open bool // a poison queue of it has answered
}

// closedRoute is a route whose poison queues are not open, and why.
type closedRoute struct {
	name, because string
	again         string // when they are
}

const (
	inAMoment  = "try again in a moment"
	afterStart = "the next start of the engine opens it, and once the engine has ended this command does, by the pipeline file"
)

func (r *closedRoute) Error() string { return r.told("no poison queue of it is open") }

func (r *closedRoute) told(so string) string {
	return visible.Line(fmt.Sprintf("route %s %s, so %s; %s", r.name, r.because, so, r.again))
}

// closed lists the routes whose poison queues are not open now, and may well
// have some: as far as the pipeline file, if there is one, does not say no.
func (e *dlqEngine) closed(route string) (closed []*closedRoute) {
	for i := range e.answer.Routes {
		r := &e.answer.Routes[i]
		if route != "" && r.Name != route || r.open || e.drains(r.Name) ||
			e.pipeline != nil && len(keepers(e.pipeline, r.Name)) == 0 {
			continue
		}
		if why := e.whyClosed(r); why != nil {
			closed = append(closed, why)
		}
	}
	return closed
}

// drains says whether a name is that of the drain of a route's spool.
func (e *dlqEngine) drains(name string) bool {
	of, ok := strings.CutSuffix(name, spoolSuffix)
	return ok && e.route(of) != nil
}

// spoolSuffix is behind the name of a route in that of its spool's drain.
const spoolSuffix = ".spool"

func (e *dlqEngine) route(name string) *dlqRoute {
	for i := range e.answer.Routes {
		if e.answer.Routes[i].Name == name {
			return &e.answer.Routes[i]
		}
	}
	return nil
}

// whyClosed says why a route shows no poison queue; nil: it shows its stages,
// and would show that too. What is behind a spool comes and goes by itself.
func (e *dlqEngine) whyClosed(r *dlqRoute) *closedRoute {
	state, reason := r.State, r.Reason
	if drain := e.route(r.Name + spoolSuffix); drain != nil && !r.hasQueue() && (drain.State == engine.Opening || drain.State == engine.Parked) {
		state, reason = drain.State, drain.Reason
	} else if len(r.Stages) > 0 && state != engine.Draining {
		return nil
	}
	if reason != "" {
		reason = " (" + reason + ")"
	}
	switch state {
	case engine.Opening:
		return &closedRoute{r.Name, "is still opening" + reason, inAMoment}
	case engine.Parked:
		return &closedRoute{r.Name, "is parked" + reason, afterStart}
	case engine.Finished:
		return &closedRoute{r.Name, "has come to its end", afterStart}
	case engine.Stopped:
		return &closedRoute{r.Name, "was stopped", afterStart}
	default:
		return &closedRoute{r.Name, "is ending", afterStart}
	}
}

// hasQueue says whether a stage is shown that may be a poison queue.
func (r *dlqRoute) hasQueue() bool {
	for _, s := range r.Stages {
		if s.Kind == stage.KindMiddleware {
			return true
		}
	}
	return false
}

// tellClosed names the routes that were not looked at. They may share the store
// of one that was.
func (e *dlqEngine) tellClosed(out io.Writer, route string) {
	for _, r := range e.closed(route) {
		fmt.Fprintln(out, r.told("a poison queue of its own is not looked at here"))
	}
}

// noDesks says why an engine has no store of bad events to show.
func (e *dlqEngine) noDesks(route string) error {
	if route != "" && (e.route(route) == nil || e.drains(route)) {
		var known []string
		for _, r := range e.answer.Routes {
			if !e.drains(r.Name) {
				known = append(known, visible.Line(r.Name))
			}
		}
		return unknownRoute(route, known)
	}
	var errs []error
	for _, r := range e.closed(route) {
		errs = append(errs, r)
	}
	if len(errs) > 0 {
		return &codeError{ExitUnreachable, errors.Join(errs...)}
	}
	return noQueue(route)
}

// noneIn says why a pipeline whose engine does not run has no store to show.
func noneIn(p *config.Pipeline, route string) error {
	if route == "" || p.Route(route) != nil {
		return noQueue(route)
	}
	var known []string
	for i := range p.Routes {
		known = append(known, p.Routes[i].Name)
	}
	return unknownRoute(route, known)
}

func unknownRoute(route string, known []string) error {
	return &codeError{ExitUsage, &engine.UnknownRouteError{Route: route, Known: known}}
}

func noQueue(route string) error {
	if route == "" {
		return &codeError{ExitUsage, errors.New("no route of the pipeline has a poison queue")}
	}
	return &codeError{ExitUsage, fmt.Errorf("route %s has no poison queue", route)}
}

// notServed says that there is nothing at a path of an engine: not now, or at
// all. While any route is not open, an engine says the first of all paths.
func notServed(err error) bool {
	var s *statusError
	return isNotFound(err) || errors.As(err, &s) && s.status == http.StatusServiceUnavailable
}
