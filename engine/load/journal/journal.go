// Package journal keeps what changed the load of a route, and when, in the
// state database: the table generator_load. Each run of a load, from where it
// was started to where it was stopped, can be read back as a recording, which
// the package read plays again.
//
// The engine's state store is always there, so that a journal is kept whatever
// the pipeline is connected to. It is bounded: the oldest changes of a route go
// when there are too many, or too much text.
package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"millrace/engine/load"
)

// keepEntries and keepBytes are how much of a route the journal holds.
var (
	keepEntries = 10_000
	keepBytes   = 64 << 20
)

// trimEvery is after how many entries the oldest ones are looked for.
const trimEvery = 100

// Journal is that of one route. A Journal without a database keeps nothing. It
// is not safe for concurrent use.
type Journal struct {
	DB           *sql.DB
	Route, Stage string

	before int64 // runs of the route in other processes
	added  int64
}

// Entry is something that happened to a load.
type Entry struct {
	// At is when, by the clock, and Number its place among all that happened
	// since the source was opened.
	At     time.Time
	Number int64
	// Run counts the runs since the source was opened, from 1; 0: it happened to
	// a load that did not run.
	Run int64
	// What says it in a word or two.
	What string
	// Change is what was changed, Since the beginning of the run; nil: nothing
	// was, as at a stop.
	Change *load.Change
	Since  time.Duration
	// Begins is what a run was that began; nil: none did.
	Begins *load.Run
	// Ends says that the run was over, after so many Events.
	Ends   bool
	Events int64
}

// columns were added since the first version of the table.
var columns = []string{
	"run INTEGER NOT NULL DEFAULT 0", "change TEXT NOT NULL DEFAULT ''", "begins TEXT NOT NULL DEFAULT ''",
	"ended INTEGER NOT NULL DEFAULT 0", "events INTEGER NOT NULL DEFAULT 0", "bytes INTEGER NOT NULL DEFAULT 0",
}

// Open makes the table, and one of an older version new.
func (j *Journal) Open(ctx context.Context) error {
	if j.DB == nil {
		return nil
	}
	if err := j.makeTable(ctx); err != nil {
		return err
	}
	const last = `SELECT coalesce(max(run), 0) FROM generator_load WHERE route = ?`
	if err := j.DB.QueryRowContext(ctx, last, j.Route).Scan(&j.before); err != nil {
		return fmt.Errorf("reading the journal of the load: %w", err)
	}
	return j.trim(ctx)
}

// makeTable does all in one transaction: sources of several routes start at once.
func (j *Journal) makeTable(ctx context.Context) error {
	tx, err := j.DB.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("making the journal of the load: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	const table = `CREATE TABLE IF NOT EXISTS generator_load (
	id INTEGER PRIMARY KEY, route TEXT NOT NULL, stage TEXT NOT NULL, at TEXT NOT NULL, number INTEGER NOT NULL,
	what TEXT NOT NULL, hash TEXT NOT NULL, profile TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS generator_load_route ON generator_load (route, id)`
	if _, err := tx.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("making the journal of the load: %w", err)
	}
	var have int
	const look = `SELECT count(*) FROM pragma_table_info('generator_load')
	WHERE name IN ('run', 'change', 'begins', 'ended', 'events', 'bytes')`
	if err := tx.QueryRowContext(ctx, look).Scan(&have); err != nil {
		return fmt.Errorf("looking at the journal of the load: %w", err)
	}
	for _, c := range columns[have:] {
		if _, err := tx.ExecContext(ctx, "ALTER TABLE generator_load ADD COLUMN "+c); err != nil {
			return fmt.Errorf("bringing the journal of the load up to date: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("making the journal of the load: %w", err)
	}
	return nil
}

// Add enters something.
func (j *Journal) Add(ctx context.Context, e Entry) error {
	if j.DB == nil {
		return nil
	}
	var change, begins []byte
	hash, profile, run := "", "", int64(0)
	if e.Run > 0 {
		run = j.before + e.Run
	}
	if e.Change != nil {
		change = load.Encode(e.Change.Record(e.Since))
		if p := e.Change.Plan; p != nil {
			hash, profile = p.Hash(), string(p.Profile.JSON())
		}
	}
	if e.Begins != nil {
		b := *e.Begins
		b.Route, b.Number, b.Started = j.Route, run, e.At.UTC().Format(time.RFC3339Nano)
		begins = load.Encode(b)
	}
	const row = `INSERT INTO generator_load (route, stage, at, number, what, hash, profile, run, change, begins, ended, events, bytes)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	_, err := j.DB.ExecContext(ctx, row, j.Route, j.Stage, e.At.UTC().Format(time.RFC3339Nano), e.Number, e.What, hash, profile,
		run, string(change), string(begins), e.Ends, e.Events, len(change)+len(begins)+len(profile))
	if err != nil {
		return fmt.Errorf("it could not be entered in the journal of the load: %w", err)
	}
	if j.added++; j.added%trimEvery == 0 {
		return j.trim(ctx)
	}
	return nil
}

// trim takes the oldest entries away.
func (j *Journal) trim(ctx context.Context) error {
	const old = `DELETE FROM generator_load WHERE route = ?1 AND id <= (SELECT coalesce(max(id), -1) FROM (
	SELECT id, row_number() OVER newest AS n, sum(bytes) OVER newest AS size FROM generator_load WHERE route = ?1
	WINDOW newest AS (ORDER BY id DESC)) WHERE n > ?2 OR size > ?3)`
	if _, err := j.DB.ExecContext(ctx, old, j.Route, keepEntries, keepBytes); err != nil {
		return fmt.Errorf("shortening the journal of the load: %w", err)
	}
	return nil
}

// ErrNone says that the journal has no such run.
var ErrNone = errors.New("the journal has no such run of a load")

// Read is the recording of a run of a route, as the text of a file. Run 0 is the
// last one, an empty route the only one.
func Read(ctx context.Context, db *sql.DB, route string, run int64) ([]byte, error) {
	route, err := only(ctx, db, route)
	if err != nil {
		return nil, err
	}
	const newest = `SELECT coalesce(max(run), 0), coalesce(min(nullif(run, 0)), 0) FROM generator_load WHERE route = ?`
	var first, last int64
	if err := db.QueryRowContext(ctx, newest, route).Scan(&last, &first); err != nil {
		return nil, fmt.Errorf("reading the journal of the load: %w", err)
	}
	if run == 0 {
		run = last
	}
	if run < first || run > last || last == 0 {
		return nil, fmt.Errorf("%w: run %d of route %s; it has %d to %d", ErrNone, run, route, first, last)
	}
	return entries(ctx, db, route, run)
}

// only finds the route that is meant.
func only(ctx context.Context, db *sql.DB, route string) (string, error) {
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT route FROM generator_load ORDER BY route`)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNone, err)
	}
	defer rows.Close()
	var routes []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		if name == route {
			return route, nil
		}
		routes = append(routes, name)
	}
	switch {
	case rows.Err() != nil:
		return "", rows.Err()
	case len(routes) == 0:
		return "", ErrNone
	case route == "" && len(routes) == 1:
		return routes[0], nil
	case route == "":
		return "", fmt.Errorf("say which route is meant; these are in the journal: %v", routes)
	default:
		return "", fmt.Errorf("%w: route %q; these are in it: %v", ErrNone, route, routes)
	}
}

func entries(ctx context.Context, db *sql.DB, route string, run int64) ([]byte, error) {
	const all = `SELECT change, begins, ended, events FROM generator_load WHERE route = ? AND run = ? ORDER BY number`
	rows, err := db.QueryContext(ctx, all, route, run)
	if err != nil {
		return nil, fmt.Errorf("reading the journal of the load: %w", err)
	}
	defer rows.Close()
	var head map[string]json.RawMessage
	var changes [][]byte
	for rows.Next() {
		var change, begins []byte
		var ended bool
		var events int64
		if err := rows.Scan(&change, &begins, &ended, &events); err != nil {
			return nil, err
		}
		if len(begins) > 0 {
			if err := json.Unmarshal(begins, &head); err != nil {
				return nil, fmt.Errorf("the journal of the load has an entry that cannot be read: %w", err)
			}
		}
		if len(change) > 0 {
			changes = append(changes, change)
		}
		if ended && head != nil {
			head["events"] = strconv.AppendInt(nil, events, 10)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if head == nil {
		return nil, fmt.Errorf("run %d of route %s had so many changes that the journal has lost its beginning", run, route)
	}
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return load.RecordingText(route, text, changes), nil
}
