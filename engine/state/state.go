// Package state owns a state directory: the place on disk where a pipeline
// keeps what must outlive its process. One process owns one directory at a
// time; a second is refused.
//
// Inside are the lock file, one SQLite database in WAL mode (tables belong to
// the stages that make them), and whatever files stages keep.
package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Format is the version of the directory's layout that this program writes.
const Format = 1

const (
	lockName = "lock"
	dbName   = "state.db"
)

// Dir is an opened state directory.
type Dir struct {
	Path string
	DB   *sql.DB
	lock *os.File
}

// Open makes the directory if needed, takes it for this process and opens its
// database. The error of a directory in use names the process that holds it.
func Open(ctx context.Context, path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("state directory %s cannot be made: %w", path, err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	db, err := openDB(filepath.Join(path, dbName), "rwc")
	if err == nil {
		err = prepare(ctx, db)
	}
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return nil, errors.Join(fmt.Errorf("state directory %s: %w", path, err), lock.Close())
	}
	return &Dir{Path: path, DB: db, lock: lock}, nil
}

// Close closes the database and gives the directory free.
func (d *Dir) Close() error {
	return errors.Join(d.DB.Close(), d.lock.Close())
}

func takeLock(path string) (*os.File, error) {
	name := filepath.Join(path, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("state directory %s cannot be written: %w", path, err)
	}
	// The kernel drops the lock with the process, however it ends.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(name)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("state directory %s is in use by process %s; stop it, or give this pipeline another `state:`",
				path, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("state directory %s cannot be locked: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("state directory %s cannot be written: %w", path, err), f.Close())
		}
	}
	return f, nil
}

func openDB(file, mode string) (*sql.DB, error) {
	query := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)"}}
	switch _, err := os.Stat(file + "-wal"); {
	case mode != "ro":
		// FULL: a statement that returned survives also a power cut.
		query["_pragma"] = append(query["_pragma"], "journal_mode(WAL)", "synchronous(FULL)")
	case errors.Is(err, fs.ErrNotExist):
		// Nobody has it open. Reading would make a log beside it that a reader
		// cannot take away again.
		query.Set("immutable", "1")
	}
	file, err := filepath.Abs(file) // a relative path would be read as a host name
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	// SQLite has one writer; a pool of one turns lock contention into waiting.
	db.SetMaxOpenConns(1)
	return db, nil
}

func prepare(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("%s cannot be read: %w", dbName, err)
	}
	if version > Format {
		return fmt.Errorf("%s has format %d, this program knows up to %d; use the program that wrote it or another directory", dbName, version, Format)
	}
	if version == Format {
		return nil
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", Format))
	return err
}

// Entry is one thing kept in a state directory.
type Entry struct {
	Name  string // file path below the directory, or such a path and the table: "state.db: table"
	Table bool
	Size  int64 // bytes of a file
	Rows  int64 // rows of a table
}

// List says what a state directory holds, with those below it of processes that
// run a part of the pipeline. It takes no lock, so it can be read
// beside a running engine.
func List(ctx context.Context, path string) ([]Entry, error) {
	var entries []Entry
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since: a running engine trims
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, name)
		entries = append(entries, Entry{Name: rel, Size: info.Size()})
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no state directory %s; has the pipeline run yet?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	for _, e := range entries {
		if filepath.Base(e.Name) != dbName {
			continue
		}
		tables, err := listTables(ctx, path, e.Name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, tables...)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

func listTables(ctx context.Context, dir, name string) (entries []Entry, err error) {
	file := filepath.Join(dir, name)
	db, err := openDB(file, "ro")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, err)
	}
	var names []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, err
		}
		names = append(names, table)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, table := range names {
		e := Entry{Name: name + ": " + table, Table: true}
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM "`+strings.ReplaceAll(table, `"`, `""`)+`"`).Scan(&e.Rows); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}
