package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

// The benchmarks' own tables.
const (
	events     = "bench_log_events"
	attributes = "bench_log_event_metadata"
)

// database is the view of Postgres that is neither side's.
type database struct{ conn *pgx.Conn }

func newDatabase(ctx context.Context) (*database, error) {
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	return &database{conn}, err
}

func (d *database) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := d.conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// drop removes the tables: whoever comes next makes them anew.
func (d *database) drop(ctx context.Context, tables ...string) error {
	for _, t := range tables {
		if err := d.exec(ctx, fmt.Sprintf(`DROP TABLE IF EXISTS %q`, t)); err != nil {
			return err
		}
	}
	return nil
}

// empty empties the tables, those that are there, and writes out what is owed
// to the disk, so that a round does not pay for the one before.
func (d *database) empty(ctx context.Context, tables ...string) error {
	for _, t := range tables {
		var there bool
		if err := d.conn.QueryRow(ctx, `SELECT to_regclass(quote_ident($1)) IS NOT NULL`, t).Scan(&there); err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := d.exec(ctx, fmt.Sprintf(`TRUNCATE %q`, t)); err != nil {
			return err
		}
	}
	return d.exec(ctx, `CHECKPOINT`)
}

// written is how many rows there are, and the time from the first batch to the
// last, by the database's clock.
func (d *database) written(ctx context.Context, table string) (rows int, seconds float64, err error) {
	err = d.conn.QueryRow(ctx, fmt.Sprintf(
		`SELECT count(*), coalesce(extract(epoch FROM max(processed_at) - min(processed_at)), 0)::float8 FROM %q`, table)).Scan(&rows, &seconds)
	return rows, seconds, err
}

func (d *database) count(ctx context.Context, table string) (n int, err error) {
	err = d.conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) FROM %q`, table)).Scan(&n)
	return n, err
}

// delays are percentiles of the time from when events were due to when the
// transaction that wrote them began, of those due after some seconds.
func (d *database) delays(ctx context.Context, table string, after float64) (p50, p99, p999, most float64, err error) {
	err = d.conn.QueryRow(ctx, fmt.Sprintf(`
		WITH late AS (
			SELECT extract(epoch FROM processed_at - timestamp) * 1000 AS ms FROM %[1]q
			WHERE timestamp > (SELECT min(timestamp) FROM %[1]q) + make_interval(secs => $1))
		SELECT p[1], p[2], p[3], most FROM (
			SELECT percentile_disc(ARRAY[0.5, 0.99, 0.999]) WITHIN GROUP (ORDER BY ms)::float8[] AS p, max(ms)::float8 AS most FROM late) x`, table), after).
		Scan(&p50, &p99, &p999, &most)
	return p50, p99, p999, most, err
}
