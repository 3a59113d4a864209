package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// sqliteWriter writes to a SQLite file. Its pool has one connection, so writers
// queue there, and a batch is one transaction.
type sqliteWriter struct {
	*base
	events     []bulk
	attributes []bulk
	known      *stdsql.Stmt // of a JSON array of ids those that are in the table
	forget     *stdsql.Stmt // deletes the attributes of a JSON array of ids
}

// bulk is a prepared insert of so many rows.
type bulk struct {
	rows int
	stmt *stdsql.Stmt
}

// bulkRows are the sizes of inserts: more rows in one are hardly faster.
var bulkRows = [...]int{64, 8, 1}

// openSQLite makes or checks the tables and prepares the statements.
func openSQLite(ctx context.Context, base *base) (*sqliteWriter, error) {
	if err := ensureSQLite(ctx, base.db.SQLite, base.Config); err != nil {
		return nil, err
	}
	w := &sqliteWriter{base: base}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

func (w *sqliteWriter) prepare(ctx context.Context) (err error) {
	names := eventColumns(w.AttributesTable == "")
	then := "ON CONFLICT (event_id) DO NOTHING"
	if w.Conflict == conflictUpdate {
		then = "ON CONFLICT (event_id) DO UPDATE SET " + assignments(names) + ", processed_at = " + sqliteNow
	}
	if w.events, err = w.bulks(ctx, w.Table, names, then); err != nil {
		return err
	}
	w.known, err = w.db.SQLite.PrepareContext(ctx, fmt.Sprintf(
		"SELECT t.event_id FROM json_each(?) AS j CROSS JOIN %s AS t ON t.event_id = j.value", folded(w.Table)))
	if err != nil || w.AttributesTable == "" {
		return err
	}
	w.attributes, err = w.bulks(ctx, w.AttributesTable, attributeColumns, "ON CONFLICT (event_id, key) DO NOTHING")
	if err != nil {
		return err
	}
	w.forget, err = w.db.SQLite.PrepareContext(ctx, fmt.Sprintf(
		"DELETE FROM %s WHERE event_id IN (SELECT value FROM json_each(?))", folded(w.AttributesTable)))
	return err
}

func (w *sqliteWriter) bulks(ctx context.Context, table string, columns []string, then string) (made []bulk, err error) {
	row := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
	for _, n := range bulkRows {
		stmt, err := w.db.SQLite.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES %s%s %s",
			folded(table), strings.Join(columns, ", "), row, strings.Repeat(", "+row, n-1), then))
		if err != nil {
			return made, err
		}
		made = append(made, bulk{n, stmt})
	}
	return made, nil
}

// Close lets go of the statements; the connection is the resource's.
func (w *sqliteWriter) Close(context.Context) error {
	var errs []error
	for _, b := range slices.Concat(w.events, w.attributes) {
		errs = append(errs, b.stmt.Close())
	}
	for _, stmt := range []*stdsql.Stmt{w.known, w.forget} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// Write makes one attempt at the batch.
func (w *sqliteWriter) Write(parent context.Context, b *event.Batch) error {
	ctx, cancel := context.WithTimeout(parent, w.WriteTimeout.Std())
	defer cancel()
	k := w.work.Get().(*work)
	defer func() {
		clear(k.args[:cap(k.args)]) // they point into the events
		w.work.Put(k)
	}()
	k.pick(b, w.base, checkSQLite)
	if len(k.rows) == 0 {
		return nil
	}
	inserted, there, err := w.transact(ctx, b, k)
	if err != nil {
		return w.failed(parent, err)
	}
	k.refuseTwins(b, w.base)
	w.count(inserted, k.duplicates+len(k.rows)-inserted+len(there))
	if w.Conflict == conflictFail {
		for _, row := range there {
			b.Refuse(row, w.alreadyThere(b.Event(row).ID))
		}
	}
	return nil
}

// transact writes the picked rows in one transaction. there are those whose
// events turned out to be in the table already.
func (w *sqliteWriter) transact(ctx context.Context, b *event.Batch, k *work) (inserted int, there []int, err error) {
	tx, err := w.db.SQLite.BeginTx(ctx, nil)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after a commit
	if w.Conflict != conflictUpdate && (w.Conflict == conflictFail || w.AttributesTable != "") {
		if there, err = w.setAside(ctx, tx, b, k); err != nil {
			return 0, nil, err
		}
	}
	if inserted, err = w.insertEvents(ctx, tx, b, k); err != nil {
		return 0, nil, err
	}
	if w.AttributesTable != "" {
		if err := w.insertAttributes(ctx, tx, b, k); err != nil {
			return 0, nil, err
		}
	}
	return inserted, there, tx.Commit()
}

// setAside takes out of k.rows those whose ids are in the table: nobody else
// writes until this transaction ends.
func (w *sqliteWriter) setAside(ctx context.Context, tx *stdsql.Tx, b *event.Batch, k *work) (there []int, err error) {
	found, err := tx.StmtContext(ctx, w.known).QueryContext(ctx, k.ids(b))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var id uuid.UUID
		if err := found.Scan(&id); err != nil {
			return nil, err
		}
		there = append(there, k.rows[k.at[id]])
		delete(k.at, id)
	}
	if len(there) > 0 {
		k.rows = slices.DeleteFunc(k.rows, func(row int) bool { _, left := k.at[b.Event(row).ID]; return !left })
	}
	return there, found.Err()
}

func (w *sqliteWriter) insertEvents(ctx context.Context, tx *stdsql.Tx, b *event.Batch, k *work) (inserted int, err error) {
	rest := k.rows
	for _, bulk := range w.events {
		stmt := tx.StmtContext(ctx, bulk.stmt)
		for len(rest) >= bulk.rows {
			k.args = k.args[:0]
			for _, row := range rest[:bulk.rows] {
				k.eventArgs(b.Event(row), w.AttributesTable == "")
			}
			done, err := stmt.ExecContext(ctx, k.args...)
			if err != nil {
				return 0, err
			}
			n, err := done.RowsAffected()
			if err != nil {
				return 0, err
			}
			inserted += int(n)
			rest = rest[bulk.rows:]
		}
	}
	return inserted, nil
}

func (w *sqliteWriter) insertAttributes(ctx context.Context, tx *stdsql.Tx, b *event.Batch, k *work) error {
	if w.Conflict == conflictUpdate {
		if _, err := tx.StmtContext(ctx, w.forget).ExecContext(ctx, k.ids(b)); err != nil {
			return err
		}
	}
	k.args = k.args[:0]
	for _, row := range k.rows {
		k.attributeArgs(b.Event(row))
	}
	rest := k.args
	for _, bulk := range w.attributes {
		stmt := tx.StmtContext(ctx, bulk.stmt)
		for n := bulk.rows * len(attributeColumns); len(rest) >= n; rest = rest[n:] {
			if _, err := stmt.ExecContext(ctx, rest[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}
