package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"millrace/engine/stage"
)

// Format is the version of the file that this program writes.
const Format = 1

// applicationID tells a spool from other SQLite files.
const applicationID = 0x4d535031 // "MSP1"

const prefix, suffix = "spool-", ".db"

// File is the name of a route's spool in a state directory.
func File(dir, route string) string { return filepath.Join(dir, prefix+route+suffix) }

// RouteOf is the route whose spool a file is, by its name.
func RouteOf(file string) string {
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), prefix), suffix)
}

// Files lists the spools in a state directory.
func Files(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, prefix+"*"+suffix))
}

const schema = `
CREATE TABLE IF NOT EXISTS batches (
	id     INTEGER PRIMARY KEY, -- rises in the order of storing
	lane   TEXT NOT NULL,
	events INTEGER NOT NULL,
	at     INTEGER NOT NULL,    -- when it was stored, in Unix nanoseconds
	data   BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS lanes ON batches (lane, id);`

// openFile opens a spool file. mode is that of SQLite: rwc, rw or ro.
func openFile(file, mode string, connections int) (*sql.DB, error) {
	query := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)"}}
	if mode == "rwc" {
		// FULL: what was committed survives also a power cut. By default there
		// is a checkpoint every 4 MiB, which keeps the log small (reserve.go).
		query["_pragma"] = append(query["_pragma"], "journal_mode(WAL)", "synchronous(FULL)")
	}
	file, err := filepath.Abs(file) // a relative path would be read as a host name
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	return db, nil
}

// queryer is what a *sql.DB and a *sql.Conn have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkFormat refuses files that are no spools, or those of a later program.
// empty says that nothing has been made in the file yet.
func checkFormat(ctx context.Context, db queryer) (empty bool, err error) {
	var id, format int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return false, err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&format); err != nil {
		return false, err
	}
	switch {
	case id == 0 && format == 0:
		return true, nil
	case id != applicationID:
		return false, stage.Fatal(errors.New("is not a spool"))
	case format > Format:
		return false, stage.Fatal(fmt.Errorf("has format %d, this program knows up to %d; use the program that wrote it", format, Format))
	}
	return false, nil
}

// DamagedError says that a spool does not hold what was stored in it.
type DamagedError struct {
	File  string
	Batch int64 // 0: the file itself
	Err   error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("spool %s is damaged: %s; `engine spool check %s` names all that is; "+
		"put back a copy of the file, or move it away to go on without what it holds", e.File, e.What(), e.File)
}

// What says what is damaged, and how.
func (e *DamagedError) What() string {
	if e.Batch == 0 {
		return fmt.Sprintf("the file: %v", e.Err)
	}
	return fmt.Sprintf("batch %d: %v", e.Batch, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// fileError says what went wrong with a file: damage needs a person, anything
// else is weather, such as a full disk.
func fileError(file, doing string, err error) error {
	var s *sqlite.Error
	if errors.As(err, &s) {
		if code := s.Code() & 0xff; code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
			return stage.Fatal(&DamagedError{File: file, Err: err})
		}
	}
	return fmt.Errorf("spool %s: %s: %w", file, doing, err)
}
