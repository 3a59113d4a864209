package sql

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ensurePostgres makes the tables that are missing, if it may, and checks them.
// A table that is there is left as it is, its indexes too: they are somebody's
// decision, and building one would block a busy table.
func ensurePostgres(ctx context.Context, pool *pgxpool.Pool, c *Config) error {
	for _, t := range tablesOf(c) {
		have, err := postgresColumns(ctx, pool, t.name)
		if err != nil {
			return err
		}
		if len(have) == 0 && c.Create {
			if err := createPostgres(ctx, pool, t); err != nil {
				return fmt.Errorf("creating table %s: %w", t.name, err)
			}
			if have, err = postgresColumns(ctx, pool, t.name); err != nil {
				return err
			}
		}
		if err := t.check(have, postgresFits); err != nil {
			return err
		}
	}
	return nil
}

// postgresColumns reads the columns of a table; none: there is no such table.
func postgresColumns(ctx context.Context, pool *pgxpool.Pool, table string) ([]foundColumn, error) {
	rows, err := pool.Query(ctx, `
		SELECT a.attname, format_type(a.atttypid, NULL), a.attnotnull,
			a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
		FROM pg_attribute a
		WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY a.attnum`, quoted(table))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[foundColumn])
}

// createPostgres makes a table with its indexes, all or nothing. Engines that
// start together wait for each other; the later ones find it there.
func createPostgres(ctx context.Context, pool *pgxpool.Pool, t table) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		h := fnv.New64a()
		_, _ = h.Write([]byte("millrace " + t.name))
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(h.Sum64())); err != nil {
			return err
		}
		// Reading the catalogue's own tables makes the server look again: alone,
		// to_regclass would answer from what it knew before the wait.
		var there bool
		err := tx.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_class WHERE oid = to_regclass($1::text)", quoted(t.name)).Scan(&there)
		if err != nil || there {
			return err
		}
		if err := createSchema(ctx, tx, t.name); err != nil {
			return err
		}
		for _, ddl := range postgresDDL(t) {
			if _, err := tx.Exec(ctx, ddl); err != nil {
				return err
			}
		}
		return nil
	})
}

// createSchema makes the schema of a table. It asks first: CREATE SCHEMA IF NOT
// EXISTS wants the right to create even when there is nothing to do.
func createSchema(ctx context.Context, tx pgx.Tx, table string) error {
	schema, _, ok := strings.Cut(table, ".")
	if !ok {
		return nil
	}
	// Several tables of a new schema have several locks: this one is for all.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('millrace schema', 0))"); err != nil {
		return err
	}
	var there bool
	err := tx.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_namespace WHERE nspname = $1", schema).Scan(&there)
	if err == nil && !there {
		_, err = tx.Exec(ctx, "CREATE SCHEMA "+quoted(schema))
	}
	return err
}

// postgresDDL is what makes a table.
func postgresDDL(t table) []string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.name, c.typ, c.extra("now()"))))
	}
	ddl := []string{fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", quoted(t.name), strings.Join(columns, ", "), t.key)}
	if t.indexed {
		for _, index := range indexes {
			ddl = append(ddl, fmt.Sprintf("CREATE INDEX ON %s %s", quoted(t.name), index.on))
		}
	}
	return ddl
}

// postgresFits reports whether a column of type have can hold what is meant for
// one of type want.
func postgresFits(want, have string) bool {
	also := map[string]string{
		"text":        "character varying",
		"jsonb":       "json",
		"timestamptz": "timestamp with time zone",
	}
	return have == want || have == also[want]
}
