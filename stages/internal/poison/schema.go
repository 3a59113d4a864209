package poison

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// Format is the version of the tables that this program writes; it stands in
// the table that is named like them with _format behind.
const Format = 3

// One row per bad event. Times are RFC 3339 in UTC, "" when not known. {…} is
// filled in by the dialect.
const schema = `
CREATE TABLE IF NOT EXISTS {format} (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS {audit} (seq {serial}, at TEXT NOT NULL, record TEXT NOT NULL);
` + createTable + `;
INSERT INTO {format} (version) SELECT 3 WHERE NOT EXISTS (SELECT 1 FROM {format})`

const createTable = `CREATE TABLE IF NOT EXISTS {table} (
	seq              {serial},
	route            TEXT    NOT NULL,
	event_id         TEXT    NOT NULL,
	origin_kind      TEXT    NOT NULL,
	origin_name      TEXT    NOT NULL,
	origin_partition BIGINT  NOT NULL,
	origin_offset    BIGINT  NOT NULL,
	origin_time      TEXT    NOT NULL,
	record_key       {bytes} NOT NULL,
	payload          {bytes} NOT NULL,
	payload_form     TEXT    NOT NULL,
	reason           TEXT    NOT NULL,
	class            TEXT    NOT NULL,
	error_type       TEXT    NOT NULL,
	stage            TEXT    NOT NULL,
	attempts         BIGINT  NOT NULL,
	first_failed_at  TEXT    NOT NULL,
	failed_at        TEXT    NOT NULL,
	pipeline         TEXT    NOT NULL,
	instance         TEXT    NOT NULL,
	trace_id         TEXT    NOT NULL,
	span_id          TEXT    NOT NULL,
	replays          BIGINT  NOT NULL DEFAULT 0,
	version          BIGINT  NOT NULL DEFAULT 0,
	given            TEXT    NOT NULL DEFAULT '',
	same             TEXT    NOT NULL DEFAULT '',
	UNIQUE (` + unique + `)
)`

// unique is what tells rows apart. The same event that is read again falls on
// its row; ids are made by clients, so another event with the same one does
// not: same is where it came from and its content (sameness), ” of a row that
// an older program has made.
const unique = `pipeline, route, event_id, origin_offset, same`

const columns = `route, event_id, origin_kind, origin_name, origin_partition, origin_offset, origin_time, record_key,
	payload, payload_form, reason, class, error_type, stage, attempts, first_failed_at, failed_at, pipeline, instance, trace_id, span_id, replays`

// addGiven is for a table that a program without that column has made. Such a
// program can go on to use it.
const addGiven = `ALTER TABLE {table} ADD COLUMN given TEXT NOT NULL DEFAULT ''`

// migrate takes a SQLite table of format 1 or 2. It is made anew: its rule of
// uniqueness cannot be changed. {has} are the columns that it has.
const migrate = `
ALTER TABLE {table} RENAME TO {old};
` + createTable + `;
INSERT INTO {table} (seq, {has}) SELECT seq, {has} FROM {old} ORDER BY seq;
DROP TABLE {old};
CREATE TABLE IF NOT EXISTS {audit} (seq {serial}, at TEXT NOT NULL, record TEXT NOT NULL);
UPDATE {format} SET version = 3`

// migratePostgres takes a table of format 2. {rule} is the constraint that
// makes its rows unique, which Postgres has named.
const migratePostgres = `
ALTER TABLE {table} DROP CONSTRAINT {rule};
ALTER TABLE {table} ADD COLUMN same TEXT NOT NULL DEFAULT '';
ALTER TABLE {table} ADD UNIQUE (` + unique + `);
UPDATE {format} SET version = 3`

// quote makes an identifier of a name that may have a schema before it.
func quote(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, `"`, `""`), ".", `"."`) + `"`
}

// sql fills a statement in for the dialect.
func (t *table) sql(query string) string {
	query = t.fill.Replace(query)
	if !t.db.Postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// prepare makes the tables, and takes those of an older program.
func (t *table) prepare(ctx context.Context, peek bool) error {
	return t.within(ctx, func(tx *sql.Tx) error {
		if t.db.Postgres { // two that make a table at once fail
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", "millrace poison "+t.place.Table); err != nil {
				return err
			}
		}
		there, err := t.there(ctx, tx)
		switch {
		case err != nil:
			return err
		case !there && peek:
			t.absent = true
			return nil
		case !there:
			return t.exec(ctx, tx, schema)
		}
		return t.takeOver(ctx, tx, peek)
	})
}

// takeOver makes a table of an older program one of this. One of format 2 can
// be looked at as it is.
func (t *table) takeOver(ctx context.Context, tx *sql.Tx, peek bool) error {
	var version int
	if err := tx.QueryRowContext(ctx, t.sql("SELECT max(version) FROM {format}")).Scan(&version); err != nil {
		return fmt.Errorf("reading the format of the table: %w", err)
	}
	var err error
	switch {
	case version == Format:
		return nil
	case version == 1 && !t.db.Postgres:
		err = t.exec(ctx, tx, strings.ReplaceAll(migrate, "{has}", columns))
	case version == 2 && peek:
		return t.complete(ctx, tx, true)
	case version == 2:
		err = t.from2(ctx, tx)
	default:
		return stage.Fatal(fmt.Errorf("the table %s has format %d and this program knows %d; use the program that wrote it, or another place", t.sql("{table}"), version, Format))
	}
	if err != nil {
		return fmt.Errorf("bringing the table from format %d to %d: %w", version, Format, err)
	}
	return nil
}

func (t *table) from2(ctx context.Context, tx *sql.Tx) error {
	if err := t.complete(ctx, tx, false); err != nil {
		return err
	}
	if !t.db.Postgres {
		return t.exec(ctx, tx, strings.ReplaceAll(migrate, "{has}", columns+", version, given"))
	}
	var rule string
	err := tx.QueryRowContext(ctx, "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'u'", t.sql("{table}")).Scan(&rule)
	if err != nil {
		return fmt.Errorf("looking for what makes its rows unique: %w", err)
	}
	return t.exec(ctx, tx, strings.ReplaceAll(migratePostgres, "{rule}", `"`+strings.ReplaceAll(rule, `"`, `""`)+`"`))
}

// complete adds the column given, which a table of format 2 may lack. Who only
// looks reads it as empty.
func (t *table) complete(ctx context.Context, tx *sql.Tx, peek bool) error {
	query, name := "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'given'", t.plain("{table}")
	if t.db.Postgres {
		query, name = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'given' AND NOT attisdropped", t.sql("{table}")
	}
	var n int
	if err := tx.QueryRowContext(ctx, query, name).Scan(&n); err != nil {
		return fmt.Errorf("looking for the column given: %w", err)
	}
	switch {
	case n > 0:
		return nil
	case peek:
		t.given = "''"
		return nil
	}
	if err := t.exec(ctx, tx, addGiven); err != nil {
		return fmt.Errorf("adding the column given: %w", err)
	}
	return nil
}

// plain is a SQLite table's name without quotes, and without the database that
// may be named before it.
func (t *table) plain(table string) string {
	name := strings.Trim(t.sql(table), `"`)
	return name[strings.LastIndex(name, `"`)+1:]
}

// there asks whether the table is there, without an error where it is not: in
// Postgres one would end the transaction.
func (t *table) there(ctx context.Context, tx *sql.Tx) (bool, error) {
	query, name := "SELECT count(*) FROM pragma_table_info(?)", t.plain("{format}")
	if t.db.Postgres {
		query, name = "SELECT count(to_regclass($1))", t.sql("{format}")
	}
	var n int
	err := tx.QueryRowContext(ctx, query, name).Scan(&n)
	return n > 0, err
}

// exec runs statements one after the other.
func (t *table) exec(ctx context.Context, tx *sql.Tx, script string) error {
	for _, statement := range strings.Split(script, ";\n") {
		if _, err := tx.ExecContext(ctx, t.sql(statement)); err != nil {
			return err
		}
	}
	return nil
}
