package generator

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"millrace/engine/load"
)

// keepEntries is how many entries of a route the journal holds.
const keepEntries = 10_000

// journal is the table of what changed the load of a route and when, so that a
// run can be understood, and repeated, afterwards.
type journal struct {
	db           *sql.DB // nil: none is kept
	route, stage string
}

// entry is one change.
type entry struct {
	at     time.Time // from when on it counted
	number int64     // in the order of changes since the generator was opened; 0: the beginning
	what   string
	plan   *load.Plan // nil: the profile stayed
}

// open makes the table and enters the load that the generator begins with.
func (j journal) open(ctx context.Context, first entry) error {
	if j.db == nil {
		return nil
	}
	const table = `CREATE TABLE IF NOT EXISTS generator_load (
	id INTEGER PRIMARY KEY, route TEXT NOT NULL, stage TEXT NOT NULL, at TEXT NOT NULL, number INTEGER NOT NULL,
	what TEXT NOT NULL, hash TEXT NOT NULL, profile TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS generator_load_route ON generator_load (route, id)`
	if _, err := j.db.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("making the journal of the load: %w", err)
	}
	const old = `DELETE FROM generator_load WHERE route = ?1 AND id <=
	(SELECT id FROM generator_load WHERE route = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`
	if _, err := j.db.ExecContext(ctx, old, j.route, keepEntries); err != nil {
		return fmt.Errorf("shortening the journal of the load: %w", err)
	}
	return j.add(ctx, first)
}

// add enters a change.
func (j journal) add(ctx context.Context, e entry) error {
	if j.db == nil {
		return nil
	}
	hash, profile := "", ""
	if e.plan != nil {
		hash, profile = e.plan.Hash(), string(e.plan.Profile.JSON())
	}
	const row = `INSERT INTO generator_load (route, stage, at, number, what, hash, profile) VALUES (?, ?, ?, ?, ?, ?, ?)`
	at := e.at.UTC().Format(time.RFC3339Nano)
	if _, err := j.db.ExecContext(ctx, row, j.route, j.stage, at, e.number, e.what, hash, profile); err != nil {
		return fmt.Errorf("it could not be entered in the journal of the load: %w", err)
	}
	return nil
}
