// Package stage is the contract that sources, middlewares, transforms, sinks
// and resources are written against.
//
// A stage is a folder with one Go package. Its life, in order:
//
//  1. Its Stage value stands in the catalogue (stages.All()): a name, a kind
//     and New, which returns the configuration with its defaults.
//  2. The YAML is decoded over these defaults, strictly; the field comments of
//     the Config are its documentation.
//  3. Validate (optional) reports what is wrong, without touching anything.
//     Explain and Links (optional) say what the stage promises and what it
//     reads and writes outside.
//  4. Open(ctx, Settings) makes the working instance. The engine opens
//     resources first, then sinks, then middlewares, then sources. An Open
//     that fails for bad weather (a dependency away) is called again, with
//     backoff; one that fails with Fatal parks the route. Before a spool the
//     source is opened at once, beside the rest.
//  5. The instance works: Read, Wrap, Apply or Write.
//  6. Close, in the opposite order. It is called once per successful Open,
//     after the last event is settled, and never while a call is running.
//
// One Watermill message is one batch of events; BatchOf finds it. Which error
// means what to the engine is told in errors.go.
package stage

import (
	"context"
	"embed"
	"io"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
)

// Kind is the place a stage takes in a pipeline file.
type Kind string

// The kinds. Middlewares and transforms share the list `middleware:` of a route.
const (
	KindSource     Kind = "source"
	KindMiddleware Kind = "middleware"
	KindTransform  Kind = "transform"
	KindSink       Kind = "sink"
	KindResource   Kind = "resource"
)

// Stage is one entry of the catalogue.
type Stage struct {
	// Name is what a pipeline file calls it, in lower_snake_case.
	Name string
	Kind Kind
	// New returns a pointer to a new Config struct holding the defaults. It
	// must implement the interface of Kind: Source, Middleware, Transform,
	// Sink or Resource. Fields are named by `yaml:"…"` tags.
	New func() any
	// Files are the stage's own Go files and its example.yaml, embedded: help
	// texts and documentation are read from the comments of the Config there.
	Files embed.FS
}

// Source is the Config of a source.
type Source interface {
	Open(context.Context, Settings) (Reader, error)
}

// Reader reads events for one route. The engine calls Read from one goroutine,
// never two at a time; Done of the parcels comes from others.
type Reader interface {
	// Read waits until there is something and returns what is there now. It
	// must not wait to make a parcel larger: batching is the engine's job.
	//
	// io.EOF: the input is finished; the route drains and ends. The context's
	// error: told to stop, perhaps for a while only: when the route was paused by
	// hand, Read is called again with another context and goes on where it was.
	// Fatal: the route parks. Any other error is weather: Read is called again
	// after a backoff.
	//
	// A source bounds what it has handed out of a lane and not yet had settled,
	// so that a stuck lane does not fill memory and stop the others.
	Read(context.Context) (event.Parcel, error)
	// Close lets go. All parcels' Done have been called by then.
	Close(context.Context) error
}

// Finisher is a Reader that knows where its input ends now. Finish is called
// once, from another goroutine than Read, when everything that fed the input
// has stopped: from then on Read goes on to what is the end at the time of the
// call, and then returns io.EOF.
type Finisher interface {
	Finish(context.Context) error
}

// Middleware is the Config of something that happens around a batch.
type Middleware interface {
	Open(context.Context, Settings) (Wrapper, error)
}

// Wrapper puts itself around the rest of the chain. Wrap is called once when
// the route is wired; the handler it returns is called from many goroutines.
//
// The handler gets its batch by BatchOf(msg). It may call next several times,
// each time with the batch or a view of it (With); it must return an error
// unless every event of its batch is settled. What next returned is either nil
// (all settled), a *RefusedError (only bad events are left, found by
// Batch.Refused) or another error (open events are left; ClassOf tells what it
// means). Waiting ends with the message's context.
type Wrapper interface {
	Wrap(next message.HandlerFunc) message.HandlerFunc
	Close(context.Context) error
}

// Transform is the Config of something that happens to events.
type Transform interface {
	Open(context.Context, Settings) (Applier, error)
}

// Applier changes events in place.
type Applier interface {
	// Apply works through batch.Open(): it changes events, settles those it
	// takes out (batch.Settle(row, event.Filtered)), refuses bad ones
	// (batch.Refuse). The engine calls it once per event although the chain
	// may run again. An error that is returned is about the whole batch: Bad
	// makes the engine look for the bad event by halving, anything else means
	// that nothing was changed and Apply will be called again. Called from
	// many goroutines, each with its own batch; two batches of one lane may be
	// in it at the same time. After a panic it sees the events of that call again.
	Apply(context.Context, *event.Batch) error
	Close(context.Context) error
}

// Sink is the Config of a sink.
type Sink interface {
	Open(context.Context, Settings) (Writer, error)
}

// Writer writes events to one destination.
type Writer interface {
	// Write tries to deliver batch.Open(). Nil: every event that is still open
	// and was not marked by batch.Fail or batch.Refuse is delivered, for good.
	// Bad: an event is bad but it is not known which, and none was written;
	// the engine halves the batch until it knows. Any other error: nothing is
	// known of any event; they will all be tried again.
	//
	// Write returns only when no client still uses the events' memory, also
	// when it fails or the context ends. It does not settle events: the engine
	// does, when Write returns. Called from many goroutines, each with its own
	// batch; calls for the same lane come one after the other.
	Write(context.Context, *event.Batch) error
	Close(context.Context) error
}

// Resource is the Config of something that stages share by name, such as a
// connection. Stages get the opened instance by Use.
type Resource interface {
	// Open must not need the network: clients connect when first used, so that
	// a pipeline can start before its dependencies.
	Open(context.Context, Settings) (io.Closer, error)
}

// Prober is an instance that can say whether its dependency is there. Probe
// makes one real round trip within the context's deadline.
type Prober interface {
	Probe(context.Context) error
}

// Statuser is an instance with something to show: the live line of `run`,
// /api/v1/routes. Keys are lower_snake_case, values numbers, strings or
// booleans. Called from any goroutine, often; must be quick.
//
// Known keys: "offered" and "rate" (events/s a source should and does bring,
// float64), "lag" (events that wait at the source, int64), "lost" (events that
// were gone before they could be read, int64), "state" (a breaker's, string).
type Statuser interface {
	Status() map[string]any
}

// Broker is the Config of a resource whose embedded broker can run as a process
// of its own, for `engine broker`.
type Broker interface {
	// ServeBroker serves until the context ends. ready is called once with the
	// addresses that clients use, when they are served.
	ServeBroker(ctx context.Context, s Settings, broker, registry string, ready func(broker, registry string)) error
}

// Local is the Config of a resource that may be a part of its process, or of
// its state directory, so that another process with the same Config has another
// one. Routes that share it then have to run in one process.
type Local interface {
	// Local is the key that makes it so, and what stands there; "" where
	// processes can share it. It shows no secrets.
	Local() (key, value string)
}

// Validator is a Config with rules beyond types. Validate reads the Config and
// nothing else; files that it names (Path) may be read.
type Validator interface {
	Validate(*Problems)
}

// Particular is a Config that does not get along with every resource of the
// kind that it refers to: an outbox is in PostgreSQL, not in a local file.
type Particular interface {
	// ValidateResources reports what is wrong with them. config finds the
	// Config of a resource by its reference; nil: there is none, or it is wrong
	// itself, which has been reported. Called after Validate, and as pure.
	ValidateResources(p *Problems, config func(Ref) any)
}

// Explainer is a Config that has a part in what its route guarantees.
type Explainer interface {
	Explain() Explanation
}

// Explanation is a stage's part in a route's guarantee, in sentences for the
// reader of `engine explain`. An empty string says nothing.
type Explanation struct {
	Does  string // what it adds to the guarantee in normal operation
	Crash string // what happens to its events when the process dies
	Away  string // what happens while its dependency is away
	// Forgets says of a source that events which were not settled when the
	// process dies do not come again.
	Forgets bool
}

// Placed is a Config to which it matters where in a route it stands. Validate
// warns of places that defeat its purpose. Called after Validate.
type Placed interface {
	Place() Placement
}

// Placement is what there is to know of a stage's place.
type Placement struct {
	Role Role
	// Drops is the setting by which the stage rejects or sheds events that could
	// also wait, such as on_limit: reject. Zero: it does not.
	Drops Setting
	// Keeps says of a source that it keeps events until they are settled and
	// cannot be told no: what is dropped there could have waited.
	Keeps bool
}

// Setting is a key of a Config and its value.
type Setting struct{ Key, Value string }

// Role is what a middleware does for a route, where the order of stages matters.
type Role string

// The roles.
const (
	StoresBad Role = "poison_queue" // takes bad events
	Retries   Role = "retry"        // calls the rest of the chain again
	Breaks    Role = "breaker"      // watches the calls of the rest, and stops them
	Limits    Role = "limiter"      // makes batches wait
)

// Linker is a Config that reads or writes something outside the route by a
// name that another route may use too. It draws the graph between routes and
// orders the drain. Called after resource references are resolved.
type Linker interface {
	Links() []Link
}

// Link is one such use.
type Link struct {
	Writes bool   // false: reads
	What   string // "kafka:<resource>:<topic>", "file:<path>", "stdout"
}

// Requirer is a Config that can only work in a place that is right for it.
// What is missing there is a problem that validate reports at the key. Called
// after Validate.
type Requirer interface {
	Requires() []Requirement
}

// Requirement is one such condition.
type Requirement struct {
	Key string // that asks for it: "ack"
	// Spool: the route must have `spool: {when: always}`. Why is said to the
	// user: "answers when the events are stored".
	Spool bool
	Why   string
	// Alone is what only one stage of a pipeline can have: a path that it
	// serves. "": nothing.
	Alone string
	// Shared is what several stages can have if their Terms are equal: an
	// address that they listen on, with its certificate. "": nothing. Why says
	// what has to be equal: "tls must be the same". Terms must be comparable.
	Shared string
	Terms  any
}
