package sql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"millrace/engine/event"
)

// postgresWriter writes to a PostgreSQL server. All statements of a batch go
// out together and are one transaction: the server begins it with the first and
// commits it with the Sync that ends the message.
type postgresWriter struct {
	*base
	statements []statement
	careful    []statement // in their place when attributes turn out to be there already
	prepared   bool        // statements are prepared once per connection; false: sent with each batch
}

// openPostgres makes or checks the tables, and tries the statements with a
// batch of nothing: the server then says what a look at the columns cannot
// show, such as a missing right or a table without a key.
func openPostgres(ctx context.Context, base *base) (*postgresWriter, error) {
	pool := base.db.Postgres
	if err := ensurePostgres(ctx, pool, base.Config); err != nil {
		return nil, err
	}
	w := &postgresWriter{
		base: base, statements: postgresStatements(base.Config, false), careful: postgresStatements(base.Config, true),
	}
	mode := pool.Config().ConnConfig.DefaultQueryExecMode
	w.prepared = mode == pgx.QueryExecModeCacheStatement || mode == pgx.QueryExecModeCacheDescribe
	k := newWork()
	k.encode(nil, false)
	_, err := w.send(ctx, k, w.careful)
	return w, err
}

// Close does nothing: the connections are the resource's.
func (w *postgresWriter) Close(context.Context) error { return nil }

// Write makes one attempt at the batch.
func (w *postgresWriter) Write(parent context.Context, b *event.Batch) error {
	ctx, cancel := context.WithTimeout(parent, w.WriteTimeout.Std())
	defer cancel()
	k := w.work.Get().(*work)
	defer w.work.Put(k)
	statements := w.statements
	for {
		k.pick(b, w.base, checkPostgres)
		if len(k.rows) == 0 {
			return nil
		}
		k.encode(b, w.AttributesTable != "")
		inserted, err := w.send(ctx, k, statements)
		switch {
		case err == nil:
			w.account(b, k, inserted)
			return nil
		case isUnstorable(err) && k.refuseUnstorable(b) > 0:
			// The rest goes on at once. Looking for bad text only now makes it
			// free for the batches that have none.
		case w.attributesAreThere(err) && &statements[0] != &w.careful[0]:
			statements = w.careful
		default:
			return w.failed(parent, err)
		}
	}
}

// account books a committed batch, and with conflict: fail refuses those events
// that were there before, or twice in the batch.
func (w *postgresWriter) account(b *event.Batch, k *work, inserted int) {
	k.refuseTwins(b, w.base)
	missed := len(k.rows) - inserted
	w.count(inserted, k.duplicates+missed)
	if missed == 0 || w.Conflict != conflictFail {
		return
	}
	for i, row := range k.rows {
		if !k.inserted[i] {
			b.Refuse(row, w.alreadyThere(b.Event(row).ID))
		}
	}
}

// isUnstorable recognises the server's refusal of U+0000 and of broken UTF-8.
func isUnstorable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "22021" || pg.Code == "22P05")
}

// attributesAreThere recognises what can be a conflict in the attributes table.
// The server names the table, or the one of its partitions, so the name does not
// tell; a conflict with another index shows again when care was taken.
func (w *postgresWriter) attributesAreThere(err error) bool {
	var pg *pgconn.PgError
	return w.AttributesTable != "" && errors.As(err, &pg) && pg.Code == "23505"
}

// send writes the encoded rows and says how many were new. When a connection
// turns out to be dead before anything was sent, another is tried once.
func (w *postgresWriter) send(ctx context.Context, k *work, statements []statement) (int, error) {
	for again := true; ; again = false {
		conn, err := w.db.Postgres.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		inserted, err := w.sendOn(ctx, conn, k, statements)
		if stale(err) {
			_ = conn.Conn().Close(ctx) // its prepared statements are not what we think
		}
		conn.Release()
		if err == nil || !again || !pgconn.SafeToRetry(err) || ctx.Err() != nil {
			return inserted, err
		}
	}
}

// stale reports whether the server has forgotten a prepared statement (DISCARD
// ALL, a pooler in between) or can no longer run it (the table was altered).
func stale(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code[:min(2, len(pg.Code))] == "26" || pg.Code == "0A000")
}

func (w *postgresWriter) sendOn(ctx context.Context, conn *pgxpool.Conn, k *work, statements []statement) (int, error) {
	if err := w.prepare(ctx, conn, statements); err != nil {
		return 0, err
	}
	var batch pgconn.Batch
	for i := range statements {
		s := &statements[i]
		params := k.params[:0]
		for _, column := range s.columns {
			params = append(params, k.arrays[column].finish(arrayTypes[column]))
		}
		if w.prepared {
			batch.ExecPrepared(s.name, params, binaryFormat, binaryFormat)
		} else {
			batch.ExecParams(s.sql, params, nil, binaryFormat, binaryFormat)
		}
	}
	return w.read(conn.Conn().PgConn().ExecBatch(ctx, &batch), k)
}

var binaryFormat = []int16{pgx.BinaryFormatCode}

// prepare makes the statements known on a connection; where they are already,
// it costs a look-up.
func (w *postgresWriter) prepare(ctx context.Context, conn *pgxpool.Conn, statements []statement) error {
	if !w.prepared {
		return nil
	}
	for i := range statements {
		if _, err := conn.Conn().Prepare(ctx, statements[i].name, statements[i].sql); err != nil {
			return err
		}
	}
	return nil
}

// read takes the answers. The first statement tells what was inserted: by its
// command tag, or as ids, or as a number.
func (w *postgresWriter) read(results *pgconn.MultiResultReader, k *work) (inserted int, err error) {
	k.inserted = slices.Grow(k.inserted[:0], len(k.rows))[:len(k.rows)]
	clear(k.inserted)
	for first := true; results.NextResult(); first = false {
		r := results.ResultReader()
		n := 0
		for r.NextRow() {
			switch value := r.Values()[0]; len(value) {
			case len(uuid.UUID{}):
				k.inserted[k.at[uuid.UUID(value)]] = true
				n++
			case 8:
				n = int(binary.BigEndian.Uint64(value))
			}
		}
		tag, err := r.Close()
		if err != nil {
			break // Close below says it too
		}
		if first && tag.Insert() {
			n = int(tag.RowsAffected())
		}
		if first {
			inserted = n
		}
	}
	if err := results.Close(); err != nil {
		return 0, fmt.Errorf("batch of %d: %w", len(k.rows), err)
	}
	return inserted, nil
}
