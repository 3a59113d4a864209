package poisonqueue

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"millrace/engine/stage"
)

// Format is the version of the table poison_queue that this program writes; it
// stands in poison_queue_format.
const Format = 1

// One row per bad event. Times are RFC 3339 in UTC, "" when not known.
const schema = `
CREATE TABLE IF NOT EXISTS poison_queue_format (version INTEGER NOT NULL);
INSERT INTO poison_queue_format (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM poison_queue_format);
CREATE TABLE IF NOT EXISTS poison_queue (
	seq              INTEGER PRIMARY KEY AUTOINCREMENT,
	route            TEXT    NOT NULL,
	event_id         TEXT    NOT NULL,
	origin_kind      TEXT    NOT NULL,
	origin_name      TEXT    NOT NULL,
	origin_partition INTEGER NOT NULL,
	origin_offset    INTEGER NOT NULL,
	origin_time      TEXT    NOT NULL,
	record_key       TEXT    NOT NULL,
	payload          BLOB    NOT NULL,
	payload_form     TEXT    NOT NULL,
	reason           TEXT    NOT NULL,
	class            TEXT    NOT NULL,
	error_type       TEXT    NOT NULL,
	stage            TEXT    NOT NULL,
	attempts         INTEGER NOT NULL,
	first_failed_at  TEXT    NOT NULL,
	failed_at        TEXT    NOT NULL,
	pipeline         TEXT    NOT NULL,
	instance         TEXT    NOT NULL,
	trace_id         TEXT    NOT NULL,
	span_id          TEXT    NOT NULL,
	replays          INTEGER NOT NULL DEFAULT 0,
	UNIQUE (route, event_id, origin_offset)
)`

// insert keeps the event as it came first, and what happened to it last.
const insert = `
INSERT INTO poison_queue (route, event_id, origin_kind, origin_name, origin_partition, origin_offset, origin_time, record_key,
	payload, payload_form, reason, class, error_type, stage, attempts, first_failed_at, failed_at, pipeline, instance, trace_id, span_id)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (route, event_id, origin_offset) DO UPDATE SET
	reason = excluded.reason, class = excluded.class, error_type = excluded.error_type, stage = excluded.stage,
	attempts = attempts + excluded.attempts, failed_at = excluded.failed_at, instance = excluded.instance`

// local stores bad events in the state database.
type local struct {
	db    *sql.DB
	route string
	max   int

	mu    sync.Mutex // one writer at a time: the count is decided on
	count int        // of this route's rows, at most; others may have removed some
}

func openLocal(ctx context.Context, most int, s stage.Settings) (store, error) {
	if _, err := s.State.ExecContext(ctx, schema); err != nil {
		return nil, fmt.Errorf("making the table poison_queue in the state directory: %w", err)
	}
	var version int
	if err := s.State.QueryRowContext(ctx, "SELECT max(version) FROM poison_queue_format").Scan(&version); err != nil {
		return nil, fmt.Errorf("reading the format of the table poison_queue: %w", err)
	}
	if version != Format {
		return nil, stage.Fatal(fmt.Errorf("the table poison_queue in the state directory has format %d and this program knows %d; use the program that wrote it, or another state directory", version, Format))
	}
	l := &local{db: s.State, route: s.Route, max: most}
	var err error
	l.count, err = l.rows(ctx, s.State)
	return l, err
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (l *local) rows(ctx context.Context, q querier) (n int, err error) {
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM poison_queue WHERE route = ?", l.route).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the rows of poison_queue: %w", err)
	}
	return n, nil
}

// put stores as many records as there is room for, in one transaction.
func (l *local) put(ctx context.Context, records []record) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	stored, err := l.transact(ctx, records)
	errs := make([]error, len(records))
	for i := range errs {
		switch {
		case err != nil:
			errs[i] = fmt.Errorf("poison queue in the state directory: %w", err)
		case i >= stored:
			errs[i] = fmt.Errorf("%w: %d events of route %s are in it; deal with them, or raise max", errFull, l.max, l.route)
		}
	}
	return errs
}

func (l *local) transact(ctx context.Context, records []record) (stored int, err error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after a commit
	count := l.count
	if count+len(records) > l.max { // somebody may have removed rows, and some may be there already
		if count, err = l.rows(ctx, tx); err != nil {
			return 0, err
		}
		records = records[:min(len(records), max(0, l.max-count))]
	}
	statement, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return 0, err
	}
	defer func() { _ = statement.Close() }()
	for i := range records {
		if _, err := statement.ExecContext(ctx, records[i].columns()...); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	l.count = count + len(records)
	return len(records), nil
}

// columns are the values of insert.
func (r *record) columns() []any {
	payload := r.payload
	if payload == nil {
		payload = []byte{} // payload_form says so
	}
	return []any{
		r.route, r.id.String(), r.origin.Kind, r.origin.Name, r.origin.Partition, r.offset, stamp(r.due), r.key,
		payload, r.form, r.reason, r.class, r.errorType, r.stage, r.attempts, stamp(r.first), stamp(r.last), r.pipeline, r.instance, r.traceID, r.spanID,
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// close leaves the database to the engine.
func (l *local) close() {}
