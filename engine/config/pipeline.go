package config

import (
	"iter"
	"time"

	"millrace/engine/expression"
	"millrace/engine/stage"
)

// Pipeline is a checked pipeline file: every name is resolved, every stage's
// Config decoded and validated. Nobody changes it after Load.
type Pipeline struct {
	Name         string        // `pipeline:`
	Listen       string        // host:port of the control API
	State        string        // state directory, relative to the working directory
	Whole        string        // of Options.Only: the state directory of all routes; "": State is
	Token        stage.Secret  // of the control API; "": none, loopback only
	DrainTimeout time.Duration // how long a stop may take
	File         string        // as given to Load
	BaseDir      string        // folder of File

	Resources []Resource // in file order
	Routes    []Route    // in file order, those of overlays last

	// Warnings are what runs, but likely not as meant.
	Warnings []Problem
	// Replaced are the variables that were not set and whose defaults were
	// used, in the order in which they were read.
	Replaced []Default
}

// Default is one use of `${VAR:-default}` whose variable was not set.
type Default struct {
	Pos
	Path     string // "resources.kafka.brokers"
	Variable string // "KAFKA_BROKERS"
	Value    string // "embedded"; "[redacted]" where a secret belongs
}

// Resource is one entry of `resources:`.
type Resource struct {
	Name   string
	Stage  stage.Stage // its kind
	Config stage.Resource
	Path   string // "resources.kafka"
	Pos    Pos
}

// Route is one entry of `routes:`.
type Route struct {
	Name       string
	Source     *Step // nil: fed by other routes
	Batch      Batch
	Middleware []Step // middlewares and transforms, outermost first
	Sink       Sink
	Spool      *Spool // nil: none
	Pos        Pos
}

// Batch is how a route puts events together.
type Batch struct {
	Size     int           // events, at most
	Linger   time.Duration // how long the first event of a batch waits for others
	Bytes    stage.Size    // of all events, at most
	MaxEvent stage.Size    // of one event; a larger one is a bad event
	InFlight int           // batches at a time where no order is promised
}

// Step is one stage in its place.
type Step struct {
	// Name is `name:`, or the stage's name. In a branch it begins with the
	// names of the branches, "errors.kafka", so that no two middlewares and
	// transforms, and no two sinks, of a route have the same name.
	Name   string
	Stage  stage.Stage
	Config any
	// Path is where it stands in the pipeline, unique:
	// "routes.generate.middleware.limiter".
	Path string
	Pos  Pos
	// Outlets are the sinks that a middleware has for itself, such as a
	// breaker's `divert:`.
	Outlets []Outlet
}

// Outlet is a sink of a middleware's own.
type Outlet struct {
	Key  string // of the Config: "on_open.divert"
	Sink Sink   // a stage or a route
}

// Sink is where a route ends: exactly one of the four is set.
type Sink struct {
	Stage     *Step
	Route     string   // feeds that route
	Broadcast []Branch // every event to each of them
	Switch    []Case   // every event to the first whose When matches
	Pos       Pos
}

// Branch is one way of a broadcast or a switch.
type Branch struct {
	Name       string
	Middleware []Step
	Sink       Sink
	Pos        Pos
}

// Case is a branch with a condition. When is zero in the last case only,
// which then takes what is left.
type Case struct {
	When expression.Condition
	Branch
}

// Steps lists the stages of a route in the order events meet them: source,
// middleware, then sinks, depth first. The sinks of a middleware's outlets come
// behind it.
func (r *Route) Steps() iter.Seq[Step] {
	return func(yield func(Step) bool) {
		if r.Source != nil && !yield(*r.Source) {
			return
		}
		if chainSteps(r.Middleware, yield) {
			r.Sink.Steps()(yield)
		}
	}
}

func chainSteps(list []Step, yield func(Step) bool) bool {
	for _, s := range list {
		if !yield(s) {
			return false
		}
		for i := range s.Outlets {
			for out := range s.Outlets[i].Sink.Steps() {
				if !yield(out) {
					return false
				}
			}
		}
	}
	return true
}

// Steps lists the stages below a sink, depth first.
func (s *Sink) Steps() iter.Seq[Step] {
	return func(yield func(Step) bool) {
		if s.Stage != nil && !yield(*s.Stage) {
			return
		}
		for b := range s.Branches() {
			if !chainSteps(b.Middleware, yield) {
				return
			}
			for step := range b.Sink.Steps() {
				if !yield(step) {
					return
				}
			}
		}
	}
}

// Branches lists the branches of a broadcast or a switch; none for others.
func (s *Sink) Branches() iter.Seq[*Branch] {
	return func(yield func(*Branch) bool) {
		for i := range s.Broadcast {
			if !yield(&s.Broadcast[i]) {
				return
			}
		}
		for i := range s.Switch {
			if !yield(&s.Switch[i].Branch) {
				return
			}
		}
	}
}

// Feeds lists the ends of a route that feed other routes (Route is set), those
// of outlets first.
func (r *Route) Feeds() iter.Seq[*Sink] {
	return func(yield func(*Sink) bool) {
		if chainFeeds(r.Middleware, yield) {
			r.Sink.Feeds()(yield)
		}
	}
}

func chainFeeds(list []Step, yield func(*Sink) bool) bool {
	for _, s := range list {
		for i := range s.Outlets {
			if end := &s.Outlets[i].Sink; end.Route != "" && !yield(end) {
				return false
			}
		}
	}
	return true
}

// Feeds lists the ends of a sink that feed other routes (Route is set),
// depth first.
func (s *Sink) Feeds() iter.Seq[*Sink] {
	return func(yield func(*Sink) bool) {
		if s.Route != "" && !yield(s) {
			return
		}
		for b := range s.Branches() {
			if !chainFeeds(b.Middleware, yield) {
				return
			}
			for end := range b.Sink.Feeds() {
				if !yield(end) {
					return
				}
			}
		}
	}
}

// Route finds a route by its name; nil if there is none.
func (p *Pipeline) Route(name string) *Route {
	for i := range p.Routes {
		if p.Routes[i].Name == name {
			return &p.Routes[i]
		}
	}
	return nil
}
