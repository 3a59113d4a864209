package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"millrace/engine/stage"
)

// storing is a batch that somebody waits to be stored.
type storing struct {
	id     int64
	lane   string
	events int64
	blob   []byte
	done   chan error
}

// A commit takes what waits for it, up to this much.
const (
	maxGroup      = 64
	maxGroupBytes = 4 << 20
)

// Removals wait for a batch to be stored, whose commit they can share, or this
// long; longer when they could not be written. They have time: the batches are
// settled, and would only come twice after a crash.
const (
	removeWithin = 20 * time.Millisecond
	removeAgain  = time.Second
)

// write is the goroutine that alone writes to the file. Whatever asks to be
// stored while a commit runs shares the next one.
func (s *Store) write(w *writer) {
	defer close(s.closed)
	due := time.NewTimer(removeAgain)
	defer due.Stop()
	waiting := false // removals wait until the timer is due
	for open := true; open; {
		var group []*storing
		select {
		case st := <-s.stores:
			group = s.gather(st)
		case <-s.removed:
			if !waiting {
				waiting = true
				due.Reset(removeWithin)
			}
			continue
		case <-due.C:
		case <-s.closing:
			open = false
		}
		waiting = false
		removals := s.takeRemovals()
		if len(group)+len(removals) == 0 {
			continue
		}
		if left := s.commit(w, group, removals); len(left) > 0 {
			s.mu.Lock()
			s.removals = append(left, s.removals...)
			s.mu.Unlock()
			waiting = true
			due.Reset(removeAgain)
		}
	}
	if err := w.close(); err != nil {
		s.log.Error("spool not closed cleanly", "file", s.file, "error", err)
	}
}

// gather takes along what else waits to be stored.
func (s *Store) gather(first *storing) []*storing {
	group, bytes := []*storing{first}, len(first.blob)
	for len(group) < maxGroup && bytes < maxGroupBytes {
		select {
		case st := <-s.stores:
			group, bytes = append(group, st), bytes+len(st.blob)
		default:
			return group
		}
	}
	return group
}

// commit writes a group and answers it. It returns the removals that could not
// be written.
func (s *Store) commit(w *writer, group []*storing, removals []removal) (left []removal) {
	err := w.commit(group, removals)
	if err != nil && len(removals) > 0 && len(group) > 0 {
		// A full disk may have room for the removals alone, and then for more.
		left = s.commit(w, nil, removals)
		return append(left, s.commit(w, group, nil)...)
	}
	if err == nil {
		empty := s.wrote(group, removals)
		answer(group, nil)
		if empty {
			w.shrink()
		}
		return nil
	}
	s.notWrote(group)
	answer(group, err)
	if len(removals) > 0 {
		s.log.Warn("cannot remove delivered batches from the spool, will try again; until then a crash makes them come twice",
			"error", fileError(s.file, "cannot be written", err))
	}
	return removals
}

func answer(group []*storing, err error) {
	for _, st := range group {
		st.done <- err
	}
}

// writer is the one connection that writes to the file.
type writer struct {
	db     *sql.DB
	conn   *sql.Conn
	insert *sql.Stmt
	update *sql.Stmt
	remove *sql.Stmt
	lastID int64

	reserve *reserve
}

func openWriter(ctx context.Context, file string) (w *writer, err error) {
	w = &writer{reserve: newReserve(file)}
	if w.db, err = openFile(file, "rwc", 1); err != nil {
		return nil, fmt.Errorf("spool %s: %w", file, err)
	}
	if err := w.prepare(ctx); err != nil {
		_ = w.close() // the reason is why it could not be opened
		if stage.ClassOf(err) == stage.Unfixable {
			return nil, stage.Fatal(fmt.Errorf("spool %s: %w", file, err))
		}
		return nil, fileError(file, "cannot be opened", err)
	}
	return w, nil
}

func (w *writer) prepare(ctx context.Context) (err error) {
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return err
	}
	empty, err := checkFormat(ctx, w.conn)
	if err != nil {
		return err
	}
	if empty {
		if _, err := w.conn.ExecContext(ctx, fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			schema, applicationID, Format)); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&w.insert, "INSERT INTO batches (id, lane, events, at, data) VALUES (?, ?, ?, ?, ?)"},
		{&w.update, "UPDATE batches SET events = ?, data = ? WHERE id = ?"},
		{&w.remove, "DELETE FROM batches WHERE id = ?"},
	} {
		if *p.stmt, err = w.conn.PrepareContext(ctx, p.query); err != nil {
			return err
		}
	}
	return nil
}

// commit writes all or nothing. Removals alone may use the reserve.
func (w *writer) commit(group []*storing, removals []removal) error {
	if len(group) > 0 {
		if err := w.reserve.take(); err != nil {
			return err
		}
		return w.write(group, removals)
	}
	err := w.write(nil, removals)
	if err != nil && w.reserve.held {
		if err := w.reserve.give(); err != nil {
			return err
		}
		_ = w.checkpoint() // as far as it gets: what it frees is for the removals
		return w.write(nil, removals)
	}
	return err
}

func (w *writer) write(group []*storing, removals []removal) error {
	ctx := context.Background()
	_, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	if err = w.fill(ctx, group, removals); err == nil {
		_, err = w.conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back already, which it says by an error.
		_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
	}
	return err
}

func (w *writer) fill(ctx context.Context, group []*storing, removals []removal) error {
	now := time.Now().UnixNano()
	for _, st := range group {
		w.lastID++ // never used again, also when the file is empty: readers go by it
		st.id = w.lastID
		if _, err := w.insert.ExecContext(ctx, st.id, st.lane, st.events, now, st.blob); err != nil {
			return err
		}
	}
	for _, r := range removals {
		var err error
		if r.rest != nil {
			_, err = w.update.ExecContext(ctx, r.events, r.rest, r.id)
		} else {
			_, err = w.remove.ExecContext(ctx, r.id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shrinkAt is how many bytes of a file may be unused before they are given
// back to the disk, once nothing else is in it. A full disk gets them at once.
const shrinkAt = 64 << 20

// shrink gives the disk back what a spool took that is empty now. It is only
// housekeeping: an error shows itself at the next commit.
func (w *writer) shrink() {
	ctx := context.Background()
	var unused int64
	err := w.conn.QueryRowContext(ctx, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&unused)
	if err != nil || unused < shrinkAt && w.reserve.held {
		return
	}
	_, _ = w.conn.ExecContext(ctx, "VACUUM")
	_ = w.checkpoint()
}

// checkpoint copies SQLite's log to the file proper and empties it.
func (w *writer) checkpoint() error {
	_, err := w.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func (w *writer) close() error {
	var errs []error
	for _, s := range []*sql.Stmt{w.insert, w.update, w.remove} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(append(errs, w.db.Close())...)
}
