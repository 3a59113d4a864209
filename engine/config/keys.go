package config

import (
	"time"

	"millrace/engine/expression"
	"millrace/engine/stage"
)

// The structs here are the file's own keys: decode accepts what they have, and
// the reference that `engine help pipeline` prints is made of their comments.

// pipelineConfig are the keys of a pipeline file.
type pipelineConfig struct {
	// Pipeline is the name, of lower-case letters, digits and -. It is a label of all metrics.
	// Required.
	Pipeline string `yaml:"pipeline"`
	// Listen is where health, metrics and the control API answer, as host:port. Port 0 takes any
	// free one.
	Listen string `yaml:"listen"`
	// State is the directory for what must outlive the process: poisoned events, spools, embedded
	// services. Without it, data/<pipeline> is used.
	State string `yaml:"state"`
	// Token is what the control API asks for. It is needed when listen is not a loopback address;
	// without one, requests must name the engine by an IP address or as localhost.
	Token stage.Secret `yaml:"token"`
	// DrainTimeout is how long a stop waits for what was read to be delivered. What is left then
	// is given back to its source.
	DrainTimeout stage.Duration `yaml:"drain_timeout"`
	// Resources are connections that stages share by name.
	Resources *node `yaml:"resources" form:"map of resources by name"`
	// Routes are what runs, at least one. Required.
	Routes *node `yaml:"routes" form:"map of routes by name"`
}

// resourceKeys are those that a resource has beside the ones of its stage.
type resourceKeys struct {
	// Kind is which resource it is. Without it, its name says so: kafka: {…}.
	Kind string `yaml:"kind"`
}

// routeConfig are the keys of a route.
type routeConfig struct {
	// Source is where its events come from. A route that others feed by sink: {route: …} has none.
	Source *node `yaml:"source" form:"one stage"`
	// Batch is how events are put together on their way.
	Batch batchConfig `yaml:"batch"`
	// Middleware are the stages between source and sink, outermost first: middlewares and
	// transforms.
	Middleware *node `yaml:"middleware" form:"list of stages"`
	// Sink is where its events go: a stage, another route, or several branches. Required. What another
	// route does with an event (delivers, poisons, sheds, rejects it) is what becomes of it here too.
	Sink *node `yaml:"sink" form:"one stage, or route, broadcast, switch"`
	// Spool is a store on disk for what the sink cannot take now: with one, the route takes events
	// also before its sink is there. Without it, events wait and the source with them.
	Spool *node `yaml:"spool" form:"map"`
}

// batchConfig are the keys of `batch:` in a route.
type batchConfig struct {
	// Size is how many events a batch has at most, from 1 to 100000.
	Size int `yaml:"size"`
	// Linger is how long a batch waits to be filled, up to 1m.
	Linger stage.Duration `yaml:"linger"`
	// Bytes is how large a batch gets, from 1KiB to 1GiB.
	Bytes stage.Size `yaml:"bytes"`
	// MaxEvent is how large one event may be, from 1KiB to 1GiB. A larger one is a bad event.
	MaxEvent stage.Size `yaml:"max_event"`
	// InFlight is how many batches are on their way at once, from 1 to 1024.
	InFlight int `yaml:"in_flight"`
}

// spoolConfig are the keys of `spool:` in a route.
type spoolConfig struct {
	// When is what goes to the spool: open for what cannot be delivered now (the sink is away or
	// not open yet, the breaker is open) and what must stay behind it, always for everything.
	When string `yaml:"when"`
	// Max is how much it holds, at least batch.bytes.
	Max stage.Size `yaml:"max"`
	// Full is what happens to events for which there is no room: block lets them and the source
	// wait, reject tells the source no, shed drops and counts them.
	Full string `yaml:"full"`
	// DrainRate is how fast events leave it. Without it, as fast as the sink goes.
	DrainRate *stage.Rate `yaml:"drain_rate"`
}

// entryKeys stand beside the stage in an entry of `middleware:`, or in a
// branch of a list.
type entryKeys struct {
	// Name is what tells it from others, in --set and in metrics. Without it, the name is that of the
	// stage, or in a branch that of the sink's stage or of the route it feeds.
	Name string `yaml:"name"`
}

// sinkKeys are what may stand below `sink:` in place of a stage.
type sinkKeys struct {
	// Route is another route of the file that is fed, and has no source of its own.
	Route string `yaml:"route" form:"name of a route"`
	// Broadcast are branches that all get every event.
	Broadcast *node `yaml:"broadcast" form:"list of branches"`
	// Switch are branches, of which the first whose condition matches gets the event. An event
	// that matches none is filtered.
	Switch *node `yaml:"switch" form:"list of branches"`
}

// branchConfig are the keys of a branch of a broadcast.
type branchConfig struct {
	// Middleware are the stages of this branch, outermost first.
	Middleware *node `yaml:"middleware" form:"list of stages"`
	// Sink is where its events go. A branch with nothing else may leave the key out: {drop: {}}.
	Sink *node `yaml:"sink" form:"one stage, or route, broadcast, switch"`
}

// caseConfig are the keys of a branch of a switch.
type caseConfig struct {
	// When is the condition, in a switch only. The last branch may go without one and takes what
	// is left.
	When         expression.Condition `yaml:"when"`
	branchConfig `yaml:",inline"`
}

// branchKeys are all that a list of branches can have.
type branchKeys struct {
	entryKeys  `yaml:",inline"`
	caseConfig `yaml:",inline"`
}

const (
	defaultListen = "127.0.0.1:8080"
	defaultDrain  = 30 * time.Second
)

// The defaults. Those of batches suit throughput at a latency nobody sees.
var (
	defaultPipeline = pipelineConfig{Listen: defaultListen, DrainTimeout: stage.Duration(defaultDrain)}
	defaultBatch    = batchConfig{Size: 500, Linger: stage.Duration(5 * time.Millisecond), Bytes: 1 << 20, MaxEvent: 1 << 20, InFlight: 4}
	defaultRoute    = routeConfig{Batch: defaultBatch}
	defaultSpool    = spoolConfig{When: string(SpoolOpen), Max: 2 << 30, Full: string(FullBlock)}
)
