package stage

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
)

// Settings is what the engine hands to an Open: the Config is what a user
// writes, the Settings what the code passes in.
type Settings struct {
	Pipeline string
	Folder   string // that the pipeline file is in, absolute; "": it is in none
	Route    string // "" for resources
	Name     string // of the stage in the pipeline file
	Instance string // of this process: host name and process id
	// Step is the stage's place in the chain, from 1, for Batch.Pending and
	// Batch.Pass. 0 for sources and resources.
	Step int
	// MaxEvent is how large an event of the route may be, as Event.Size counts
	// (batch.max_event). A larger one is a bad event; a source that can tell its
	// client refuses it. 0 for resources.
	MaxEvent int

	Log     *slog.Logger
	Metrics prometheus.Registerer // labels pipeline, route and stage are added; unregistered after Close
	Clock   Clock

	// State is the engine's state store: one SQLite database per state
	// directory. A stage makes its own tables, their names beginning with its
	// own name, and filters by Route. A statement that returned is durable.
	State *sql.DB
	// StateDir is the state directory, for what is no table. This process
	// owns it.
	StateDir string
	// Mount serves a path, and all below it when it ends in "/", on the
	// pipeline's `listen` address until the stage is closed. It fails when the
	// path is taken.
	Mount func(path string, h http.Handler) error
	// Resource finds an opened resource by its name; use Use.
	Resource func(name string) (any, error)
	// Outlet is the handler of a sink that the Config names by a field of this
	// type. It settles the events of the message's batch, or returns an error,
	// as a Wrapper's next does. The engine opens the sink before the stage and
	// closes it afterwards.
	Outlet func(Outlet) message.HandlerFunc
	// Variables names, by key ("brokers"), the environment variables that were
	// not set and whose defaults in the file the Config therefore holds; for
	// messages that say what to set.
	Variables map[string]string
}

// Ref names a resource of the pipeline. A Config field of this type carries
// the tag `resource:"kind"`, or `resource:"kind,optional"`. Left out in the
// file, it becomes the only resource of that kind; what cannot be resolved is
// a problem that validate reports. An optional one stays empty if there is none
// or several: Validate says so where the stage cannot do without. With
// `resource:"kind,named"` it stays empty unless the file names one.
type Ref string

// Outlet is a sink of a middleware's own, for events that it does not let go
// on: `on_open: {divert: {file: {…}}}`. In the file the field holds one sink, as
// `sink:` does, or {route: other}. "": there is none.
type Outlet string

// Use returns the opened resource that ref names, as the type its package
// documents.
func Use[T any](s Settings, ref Ref) (T, error) {
	var none T
	got, err := s.Resource(string(ref))
	if err != nil {
		return none, err
	}
	want, ok := got.(T)
	if !ok {
		return none, fmt.Errorf("resource %q is a %T, not a %T", ref, got, none)
	}
	return want, nil
}
