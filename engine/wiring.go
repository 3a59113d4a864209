package engine

import (
	"context"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/chain"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// wiring opens the stages of one route and joins them to a chain. Sinks are
// opened first and the source last, so that nothing is read before everything
// behind it is ready.
type wiring struct {
	around *surroundings
	route  *config.Route
	feeds  map[string]*feed // of the routes that are fed
	stats  *stageMetrics
	steps  map[string]int // numbers of the steps in the chain, by path
	open   []opened
	stays  []*stay // of what was wired last: the outermost stages
}

// chain opens the stages that events go through and joins them.
func (w *wiring) chain(ctx context.Context) (message.HandlerFunc, error) {
	w.steps, w.stays = make(map[string]int), nil
	for step := range w.route.Steps() {
		if k := step.Stage.Kind; k == stage.KindMiddleware || k == stage.KindTransform {
			w.steps[step.Path] = len(w.steps) + 1
		}
	}
	ahead := ahead(w.route)
	rest, err := w.end(ctx, &w.route.Sink, w.route.Middleware[ahead:])
	if err != nil || ahead == 0 {
		return rest, err
	}
	return w.put(ctx, w.route.Middleware[:ahead], chain.Turn(rest))
}

// ahead is how many of a route's first stages work on a batch before it is its
// turn in its lane: transforms, and the poison queue for what they refuse. Zero
// where there is no transform among them.
func ahead(r *config.Route) (n int) {
	for i, step := range r.Middleware {
		placed, ok := step.Config.(stage.Placed)
		switch {
		case step.Stage.Kind == stage.KindTransform:
			n = i + 1
		case !ok || placed.Place().Role != stage.StoresBad:
			return n
		}
	}
	return n
}

// end opens a sink and the middlewares before it, and puts them around it.
func (w *wiring) end(ctx context.Context, sink *config.Sink, list []config.Step) (message.HandlerFunc, error) {
	h, err := w.sink(ctx, sink)
	if err != nil {
		return nil, err
	}
	return w.put(ctx, list, h)
}

// put opens a list of middlewares and puts them around a handler.
func (w *wiring) put(ctx context.Context, list []config.Step, h message.HandlerFunc) (message.HandlerFunc, error) {
	middlewares, err := w.middlewares(ctx, list)
	if err != nil {
		return nil, err
	}
	for i := len(middlewares) - 1; i >= 0; i-- {
		h = middlewares[i](h)
	}
	return h, nil
}

func (w *wiring) source(ctx context.Context) (stage.Reader, error) {
	if w.route.Source == nil {
		return w.feeds[w.route.Name], nil
	}
	return openStep(ctx, w, *w.route.Source, stage.Source.Open)
}

// middlewares opens a list from the innermost to the outermost, each in its
// guard.
func (w *wiring) middlewares(ctx context.Context, list []config.Step) ([]message.HandlerMiddleware, error) {
	made := make([]message.HandlerMiddleware, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		inner := w.stays
		w.stays = nil
		m, err := w.middleware(ctx, list[i])
		if err != nil {
			return nil, err
		}
		here := &stay{name: list[i].Name, within: append(inner, w.stays...)} // those of its outlets too
		w.stays = []*stay{here}
		observe := w.stats.observer(list[i])
		made[i] = func(next message.HandlerFunc) message.HandlerFunc {
			return here.around(chain.Guard(list[i].Name, observe, m(next)))
		}
	}
	return made, nil
}

func (w *wiring) middleware(ctx context.Context, step config.Step) (message.HandlerMiddleware, error) {
	if step.Stage.Kind == stage.KindTransform {
		applier, err := openStep(ctx, w, step, stage.Transform.Open)
		return func(next message.HandlerFunc) message.HandlerFunc {
			return chain.Transform(applier, w.steps[step.Path], next)
		}, err
	}
	outlets, err := w.outlets(ctx, step)
	if err != nil {
		return nil, err
	}
	wrapper, err := openStep(ctx, w, step, func(c stage.Middleware, ctx context.Context, s stage.Settings) (stage.Wrapper, error) {
		s.Outlet = func(o stage.Outlet) message.HandlerFunc { return outlets[string(o)] }
		return c.Open(ctx, s)
	})
	return func(next message.HandlerFunc) message.HandlerFunc { return wrapper.Wrap(next) }, err
}

// outlets makes the sinks that a middleware has for itself, by their keys.
func (w *wiring) outlets(ctx context.Context, step config.Step) (map[string]message.HandlerFunc, error) {
	made := make(map[string]message.HandlerFunc, len(step.Outlets))
	var all []*stay
	for i := range step.Outlets {
		o := &step.Outlets[i]
		h, err := w.sink(ctx, &o.Sink)
		if err != nil {
			return nil, err
		}
		made[o.Key] = chain.Divert(h)
		all = append(all, w.stays...)
	}
	w.stays = all
	return made, nil
}

// sink makes the end of a chain: a sink, another route, or branches.
func (w *wiring) sink(ctx context.Context, s *config.Sink) (message.HandlerFunc, error) {
	switch {
	case s.Stage != nil:
		writer, err := openStep(ctx, w, *s.Stage, stage.Sink.Open)
		if err != nil {
			return nil, err
		}
		return w.last(s.Stage.Name, chain.Guard(s.Stage.Name, w.stats.observer(*s.Stage), chain.Sink(writer))), nil
	case s.Route != "":
		return w.last("route "+s.Route, chain.Feed(w.feeds[s.Route].put)), nil
	case len(s.Broadcast) > 0:
		branches := make([]message.HandlerFunc, len(s.Broadcast))
		var all []*stay
		for i := range s.Broadcast {
			var err error
			if branches[i], err = w.branch(ctx, &s.Broadcast[i]); err != nil {
				return nil, err
			}
			all = append(all, w.stays...)
		}
		w.stays = all
		return chain.Broadcast(branches), nil
	default:
		cases := make([]chain.Case, len(s.Switch))
		var all []*stay
		for i := range s.Switch {
			c := &s.Switch[i]
			h, err := w.branch(ctx, &c.Branch)
			if err != nil {
				return nil, err
			}
			all = append(all, w.stays...)
			cases[i] = chain.Case{Handler: h}
			if !c.When.IsZero() {
				cases[i].Match = c.When.Match
			}
		}
		w.stays = all
		return chain.Switch(cases), nil
	}
}

// last counts what is in the last stage of a chain.
func (w *wiring) last(name string, h message.HandlerFunc) message.HandlerFunc {
	here := &stay{name: name}
	w.stays = []*stay{here}
	return here.around(h)
}

func (w *wiring) branch(ctx context.Context, b *config.Branch) (message.HandlerFunc, error) {
	return w.end(ctx, &b.Sink, b.Middleware)
}

// openStep opens one stage by the Open of its kind and remembers it.
func openStep[C, I any](ctx context.Context, w *wiring, step config.Step, open func(C, context.Context, stage.Settings) (I, error)) (I, error) {
	settings, release := w.around.settings(w.route.Name, step.Name, w.steps[step.Path])
	settings.MaxEvent = int(w.route.Batch.MaxEvent)
	instance, err := open(step.Config.(C), ctx, settings)
	if err != nil {
		release()
		return instance, &openError{step.Name, err}
	}
	w.open = append(w.open, opened{
		name: step.Name, kind: step.Stage.Kind, stage: step.Stage.Name, instance: instance, release: release,
	})
	return instance, nil
}

// named puts a stage's name before its error, which may have begun with it.
func named(stage string, err error) string {
	text := err.Error()
	if strings.HasPrefix(text, stage+": ") || strings.HasPrefix(text, stage+" ") {
		return text
	}
	return stage + ": " + text
}

// openError names the stage that could not be opened, or is not there.
type openError struct {
	stage string
	err   error
}

func (e *openError) Error() string { return named(e.stage, e.err) }
func (e *openError) Unwrap() error { return e.err }
