// Package poison keeps bad events: what the middleware that stores them and
// the source that brings them back share.
//
//	                       ┌ sql.go    a table (schema.go): the state database, SQLite, Postgres
//	Put ───▶ Store ────────┤
//	         │   ▲         └ topic.go  a Kafka topic, and beside it a ledger of
//	         │   │                     what was dealt with (ledger.go)
//	   Scan  │   │ Settle
//	         ▼   │
//	       Picker, Reader   choose entries, make events of them again
//	                        (restore.go), hand them out and take out of the
//	                        store what is settled
//
// Beside the bytes that were received an entry has what the source gave the
// event (given.go), which wins over what the bytes say.
//
// Nothing is taken out of a store before its event is settled somewhere else:
// a crash in between leaves it there, to be replayed again under the same id.
// An event that fails again is stored again by whoever stores bad events on
// its new way; the entry it came from goes then. Where both are the same entry,
// its version has risen meanwhile, by which Settle knows to keep it.
package poison

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

// Entry is a bad event as it is stored.
type Entry = stage.PoisonEntry

// The forms of a payload.
const (
	FormOriginal = "original" // the bytes that were received
	FormText     = "text"     // the same, and they are the message
	FormNull     = "null"     // a Kafka record without a value was received
	FormEvent    = "event"    // made in the pipeline, so there are none: the event as JSON
)

// Replays is the attribute that shows how often an event was replayed, this
// time included. Nothing goes by it: clients can send it (event.Event.Replays).
const Replays = "replay_count"

// ErrFull says that a store has no room now.
var ErrFull = errors.New("the poison queue is full")

// Store is a place for bad events. It may be used from many goroutines.
type Store interface {
	// Put stores entries and says of each, by its index, whether that is
	// acknowledged (nil). ErrFull asks to wait for room. ID and Version are the
	// store's to give. again says of which, by their index, the events were
	// brought back by a replay: they take the room of the entries that they came
	// from, and are stored also where there is none.
	Put(ctx context.Context, entries []Entry, again []bool) []error
	// Scan goes through the entries of the place as they are now, the oldest
	// first.
	Scan(context.Context) (Scanner, error)
	// Get finds an entry by its ID; nil: there is none.
	Get(ctx context.Context, id string) (*Entry, error)
	// Settle takes entries out, by what became of them.
	Settle(context.Context, []Fate) error
	// State changes when entries have come; asking is cheap.
	State(context.Context) (string, error)
	// Audit writes down what somebody did with the store.
	Audit(context.Context, stage.PoisonAudit) error
	// Audits are those that were written, the oldest first.
	Audits(context.Context) ([]stage.PoisonAudit, error)
	Close()
}

// Scanner goes through a store once.
type Scanner interface {
	// Next returns up to n entries; io.EOF: that was all.
	Next(ctx context.Context, n int) ([]Entry, error)
	Close()
}

// Fate is what became of an entry that was read.
type Fate struct {
	ID      string
	Version int64 // as read
	Replays int   // as read
	// Again: it failed again, and is stored somewhere, perhaps here.
	Again bool
	// What was done, for the ledger: "replayed", "purged".
	What string
}

// Place says where a store is, and which of its entries are meant.
type Place struct {
	Pipeline string `json:"pipeline,omitempty"` // whose entries; "": all
	Route    string `json:"route,omitempty"`    // whose entries; "": all
	Topic    string `json:"topic,omitempty"`    // of the Kafka resource Cluster
	Cluster  string `json:"cluster,omitempty"`
	Table    string `json:"table,omitempty"` // of the sql resource Database; neither topic nor table: the state directory
	Database string `json:"database,omitempty"`
}

// String is the place in words, without what it is restricted to.
func (p Place) String() string {
	switch {
	case p.Topic != "":
		return "the topic " + p.Topic
	case p.Table != "":
		return "the table " + p.Table
	default:
		return "the pipeline's state directory"
	}
}

// Owns reports whether an entry is one of those that are meant.
func (p Place) Owns(e *Entry) bool {
	return (p.Pipeline == "" || p.Pipeline == e.Pipeline) && (p.Route == "" || p.Route == e.Route)
}

// Services are what stores and replays need of the outside. This package knows
// no resource: the stages that use it bring theirs.
type Services struct {
	Kafka *Kafka
	SQL   *SQL
	State *sql.DB
	Clock stage.Clock
	Log   *slog.Logger
}

// Kafka is a cluster and its schema registry.
type Kafka struct {
	NewClient func(...kgo.Opt) (*kgo.Client, error)
	// Ensure makes a topic if it is not there. Retention below 0: for ever.
	Ensure func(ctx context.Context, topic string, retention time.Duration) error
	// Schema is the schema with an id; Bad when the registry has none.
	Schema   func(ctx context.Context, id int) (string, error)
	Classify func(error) error
}

// SQL is a database. Postgres says which of the two kinds it is: then DB is the
// store's own, over a shared pool, and is closed with it.
type SQL struct {
	DB       *sql.DB
	Postgres bool
	Classify func(error) error
}

// Options are how a store is opened.
type Options struct {
	// Max is the most entries that Put makes of the place.
	Max int
	// Peek makes nothing that is not there: what is missing is empty.
	Peek bool
}

// Open opens the store at a place.
func Open(ctx context.Context, p Place, s Services, o Options) (Store, error) {
	switch {
	case p.Topic != "" && s.Kafka == nil:
		return nil, stage.Fatal(fmt.Errorf("%s needs a resource of kind kafka", p))
	case p.Topic != "":
		return openTopic(ctx, p, s, o)
	case p.Table != "" && s.SQL == nil:
		return nil, stage.Fatal(fmt.Errorf("%s needs a resource of kind sql", p))
	case p.Table != "":
		return openTable(ctx, p, p.Table, *s.SQL, s.Clock, o)
	case s.State == nil:
		return nil, stage.Fatal(errors.New("there is no state directory; has the pipeline run yet?"))
	default:
		return openTable(ctx, p, "poison_queue", SQL{DB: s.State}, s.Clock, o)
	}
}

var (
	topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	tableName = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]{0,49}\.)?[a-zA-Z_][a-zA-Z0-9_]{0,49}$`)
)

// Validate reports what is wrong with a place that a Config names by the keys
// topic, resource, table and database.
func (p Place) Validate(problems *stage.Problems) {
	switch {
	case p.Topic == "":
	case p.Table != "":
		problems.Add("table", "excludes topic: bad events are kept in one of them, got topic %q and table %q", p.Topic, p.Table)
	case !topicName.MatchString(p.Topic) || p.Topic == "." || p.Topic == "..":
		problems.Add("topic", "must be 1 to 249 of the characters a-z A-Z 0-9 . _ -, got %q", p.Topic)
	case len(p.Topic)+len(ledgerSuffix) > 249:
		problems.Add("topic", "must leave room for %q behind it in 249 characters, got %d", ledgerSuffix, len(p.Topic))
	case p.Cluster == "":
		problems.Add("topic", "needs a resource of kind kafka; add resources: {kafka: {…}}, name one of several by resource, or leave topic out to store bad events in the state directory")
	}
	switch {
	case p.Table == "" || p.Topic != "":
	case !tableName.MatchString(p.Table):
		problems.Add("table", "must be a name of 1 to 50 letters, digits and underscores, with a schema and a dot before it where needed, got %q", p.Table)
	case p.Database == "":
		problems.Add("table", "needs a resource of kind sql; add resources: {sql: {…}}, name one of several by database, or leave table out to store bad events in the state directory")
	}
}

// Link says what is used, for stage.Link.
func (p Place) Link() string {
	switch {
	case p.Topic != "":
		return fmt.Sprintf("kafka:%s:%s", p.Cluster, p.Topic)
	case p.Table != "":
		return fmt.Sprintf("sql:%s:%s", p.Database, p.Table)
	default:
		return "state:poison_queue"
	}
}

// named puts the name of a place before an error.
func named(p Place, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("poison queue in %s: %w", p, err)
}
