// Package sql writes events to a table, one row for each, once.
//
// A row's key is the event's id, so a batch that is written again changes
// nothing: after a cut connection or a crash everything is simply tried again.
// A batch is one transaction, and on Postgres one statement and one round trip:
// each column travels as one array (`INSERT … SELECT FROM unnest(…)`), written
// straight into the form Postgres reads, so that the sink costs next to nothing
// beside the database. SQLite gets prepared inserts of many rows.
//
// The table is made at Open if it is not there, and checked in any case: a
// missing column is found before the first event. Metadata goes to a JSON
// column, or, with attributes_table, to a table of its own, one row for each
// entry, in the same transaction.
package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
	database "millrace/stages/resource/sql"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name: "sql", Kind: stage.KindSink, Files: files,
	New: func() any {
		return &Config{
			Table:        "log_events",
			Conflict:     conflictIgnore,
			Create:       true,
			WriteTimeout: stage.Duration(10 * time.Second),
		}
	},
}

// What may happen to an event whose id is in the table already.
const (
	conflictIgnore = "ignore"
	conflictUpdate = "update"
	conflictFail   = "fail"
)

// Config is what a user writes.
type Config struct {
	// Resource names the database; it may be left out when the pipeline has only one.
	Resource stage.Ref `yaml:"resource" resource:"sql"`
	// Table is where events go, with a schema in front if wanted: audit.log_events. Default
	// log_events. SQLite has no schemas: there it is the table audit_log_events.
	Table string `yaml:"table"`
	// Conflict says what happens to an event whose id is in the table already: ignore keeps the row
	// that is there (default), update replaces it, fail refuses the event as bad.
	Conflict string `yaml:"conflict"`
	// AttributesTable is a table for metadata, one row (event_id, key, value, type) per entry, written
	// in the same transaction. Default none: metadata goes to the column metadata as JSON.
	AttributesTable string `yaml:"attributes_table"`
	// Create makes missing tables with their indexes. Default true; false: only check that they are there.
	Create bool `yaml:"create"`
	// WriteTimeout is how long one attempt at a batch may take, connecting included, before it counts as
	// failed. Default 10s.
	WriteTimeout stage.Duration `yaml:"write_timeout"`
}

// identifier is one part of a table's name. It is written quoted, so capitals
// count; what would need more than letters, digits and _ is not worth its traps.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Validate reports what is wrong.
func (c *Config) Validate(p *stage.Problems) {
	checkTable(p, "table", c.Table)
	if c.AttributesTable != "" {
		checkTable(p, "attributes_table", c.AttributesTable)
		if c.AttributesTable == c.Table {
			p.Add("attributes_table", "must be another table than table, got %q for both", c.Table)
		}
	}
	p.OneOf("conflict", c.Conflict, conflictIgnore, conflictUpdate, conflictFail)
	if c.WriteTimeout <= 0 {
		p.Add("write_timeout", "must be above 0, got %v", c.WriteTimeout)
	}
}

func checkTable(p *stage.Problems, key, name string) {
	parts := strings.Split(name, ".")
	for _, part := range parts {
		if len(parts) > 2 || !identifier.MatchString(part) {
			p.Add(key, "must be a table name of letters, digits and _ (up to 63, not beginning with a digit), with a schema and a dot in front if wanted, got %q", name)
			return
		}
	}
}

// Explain tells what the sink does to a route's guarantee.
func (c *Config) Explain() stage.Explanation {
	does := map[string]string{
		conflictIgnore: "an event written again keeps the row that is there: one row per event id, however often it is delivered",
		conflictUpdate: "an event written again replaces its row: one row per event id, the last one written",
		conflictFail: "an event whose id is in the table is refused as bad; after a cut connection that can be an event " +
			"which this route wrote itself",
	}[c.Conflict]
	return stage.Explanation{
		Does:  does + "; a batch is one transaction",
		Crash: "a batch is committed or not there at all; what was not acknowledged to its source is written again",
		Away: fmt.Sprintf("each attempt gives up after %v and is tried again; nothing goes to the poison queue; a wrong password "+
			"or a missing table parks the route", c.WriteTimeout),
	}
}

// Links names the tables it writes.
func (c *Config) Links() []stage.Link {
	links := []stage.Link{{Writes: true, What: fmt.Sprintf("sql:%s:%s", c.Resource, c.Table)}}
	if c.AttributesTable != "" {
		links = append(links, stage.Link{Writes: true, What: fmt.Sprintf("sql:%s:%s", c.Resource, c.AttributesTable)})
	}
	return links
}

// Open makes or checks the tables and prepares the writer.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Writer, error) {
	db, err := stage.Use[*database.Database](s, c.Resource)
	if err != nil {
		return nil, err
	}
	base := newBase(c, db)
	ctx, cancel := context.WithTimeout(ctx, c.WriteTimeout.Std())
	defer cancel()
	var w stage.Writer
	if db.Postgres != nil {
		w, err = openPostgres(ctx, base)
	} else {
		w, err = openSQLite(ctx, base)
	}
	if err != nil {
		return nil, base.opening(err)
	}
	return w, errors.Join(s.Metrics.Register(base.insertedCounter), s.Metrics.Register(base.duplicateCounter))
}

// base is what the writers for both databases have in common.
type base struct {
	*Config
	db   *database.Database
	work sync.Pool // of *work

	inserted, duplicate               atomic.Int64 // for Status
	insertedCounter, duplicateCounter prometheus.Counter
}

func newBase(c *Config, db *database.Database) *base {
	b := &base{
		Config: c, db: db,
		insertedCounter: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sql_rows_inserted_total",
			Help: "Events committed as a row; with conflict: update, replaced rows too.",
		}),
		duplicateCounter: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sql_rows_duplicate_total",
			Help: "Events whose id was in the table, or earlier in the same batch, and that were not written.",
		}),
	}
	b.work.New = func() any { return newWork() }
	return b
}

// count books a batch that was committed.
func (b *base) count(inserted, duplicate int) {
	b.inserted.Add(int64(inserted))
	b.duplicate.Add(int64(duplicate))
	b.insertedCounter.Add(float64(inserted))
	b.duplicateCounter.Add(float64(duplicate))
}

// Status shows how many rows were written.
func (b *base) Status() map[string]any {
	return map[string]any{"rows_inserted": b.inserted.Load(), "rows_duplicate": b.duplicate.Load()}
}

// Probe makes one round trip to the database.
func (b *base) Probe(ctx context.Context) error { return b.db.Probe(ctx) }

// opening words the error of an Open.
func (b *base) opening(err error) error {
	return fmt.Errorf("opening table %s of %s: %w", b.Table, b.db, database.Classify(err))
}

// failed words the error of an attempt: parent is the context Write was given,
// without the attempt's own deadline.
func (b *base) failed(parent context.Context, err error) error {
	switch {
	case parent.Err() != nil:
		return fmt.Errorf("writing to %s of %s: %w", b.Table, b.db, parent.Err())
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not take a batch for %s within write_timeout (%v): %w", b.db, b.Table, b.WriteTimeout, err)
	default:
		return fmt.Errorf("writing to %s of %s: %w", b.Table, b.db, database.Classify(err))
	}
}

// alreadyThere is why conflict: fail refuses an event.
func (b *base) alreadyThere(id fmt.Stringer) error {
	return fmt.Errorf("event_id %v is already in table %s (conflict: fail)", id, b.Table)
}
