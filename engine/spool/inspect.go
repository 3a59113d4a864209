package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"millrace/engine/stage"
)

// Info is what a spool file holds.
type Info struct {
	File                   string
	Route                  string
	Batches, Events, Bytes int64
	Oldest                 time.Time // zero: it is empty
}

// Inspect says what a spool file holds. It only reads, and takes no lock: it
// may be called beside a running engine.
func Inspect(ctx context.Context, file string) (info Info, err error) {
	info = Info{File: file, Route: RouteOf(file)}
	db, err := openReadOnly(ctx, file)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var oldest sql.NullInt64
	err = db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(events), 0), coalesce(sum(length(data)), 0), min(at) FROM batches").
		Scan(&info.Batches, &info.Events, &info.Bytes, &oldest)
	if err != nil {
		return info, fileError(file, "cannot be read", err)
	}
	if oldest.Valid {
		info.Oldest = time.Unix(0, oldest.Int64)
	}
	return info, nil
}

// Check reads everything in a spool file and returns what is damaged, one
// *DamagedError each, with the number of batches that were read. The error is
// about a file that cannot be looked at. It only reads, and may be called
// beside a running engine.
func Check(ctx context.Context, file string) (batches int64, damage []*DamagedError, err error) {
	db, err := openReadOnly(ctx, file)
	if err != nil {
		return 0, damageIn(err), withoutDamage(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	damage, err = checkPages(ctx, db, file)
	if err != nil {
		return 0, damage, err
	}
	// One batch at a time: a reader that holds on for long keeps the running
	// engine from reusing its log.
	for after := int64(0); ; batches++ {
		var id int64
		var lane string
		var events int
		var blob []byte
		err := db.QueryRowContext(ctx, "SELECT id, lane, events, data FROM batches WHERE id > ? ORDER BY id LIMIT 1", after).
			Scan(&id, &lane, &events, &blob)
		if errors.Is(err, sql.ErrNoRows) {
			return batches, damage, nil
		}
		if err != nil {
			err = fileError(file, "cannot be read", err)
			return batches, append(damage, damageIn(err)...), withoutDamage(err)
		}
		if _, err := check(blob, lane, events); err != nil {
			damage = append(damage, &DamagedError{File: file, Batch: id, Err: err})
		}
		after = id
	}
}

// checkPages lets SQLite look for damage of its own structures.
func checkPages(ctx context.Context, db *sql.DB, file string) (damage []*DamagedError, err error) {
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check")
	if err != nil {
		err = fileError(file, "cannot be read", err)
		return damageIn(err), withoutDamage(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return damage, fileError(file, "cannot be read", err)
		}
		if line != "ok" {
			damage = append(damage, &DamagedError{File: file, Err: errors.New(line)})
		}
	}
	if err := rows.Err(); err != nil {
		err = fileError(file, "cannot be read", err)
		return append(damage, damageIn(err)...), withoutDamage(err)
	}
	return damage, nil
}

func damageIn(err error) []*DamagedError {
	var d *DamagedError
	if errors.As(err, &d) {
		return []*DamagedError{d}
	}
	return nil
}

func withoutDamage(err error) error {
	if len(damageIn(err)) > 0 {
		return nil
	}
	return err
}

func openReadOnly(ctx context.Context, file string) (*sql.DB, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("spool %s: %w", file, err)
	}
	db, err := openFile(file, "ro", 1)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", file, err)
	}
	empty, err := checkFormat(ctx, db)
	switch {
	case err != nil && stage.ClassOf(err) == stage.Unfixable:
		err = fmt.Errorf("spool %s: %w", file, err)
	case err != nil:
		err = fileError(file, "cannot be read", err)
	case empty:
		err = fmt.Errorf("spool %s: nothing was ever stored in it", file)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
