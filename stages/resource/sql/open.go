package sql

import (
	"cmp"
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"millrace/engine/stage"
)

// openPostgres makes the pool; nothing is connected yet. The pool pings a
// connection that was idle for a second before it hands it out, so that a
// restarted server costs at most one failed attempt per busy connection.
func (d *Database) openPostgres(ctx context.Context, dsn string, c *Config, s stage.Settings) error {
	cfg, err := poolConfig(dsn)
	if err != nil {
		return stage.Fatal(fmt.Errorf("dsn: %w", err))
	}
	cfg.MaxConns = int32(c.Pool)
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	cfg.PingTimeout = c.ConnectTimeout.Std()
	conn := cfg.ConnConfig
	conn.ConnectTimeout = c.ConnectTimeout.Std()
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "millrace " + s.Pipeline
	}
	// The pool outlives the context of Open.
	d.Postgres, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return fmt.Errorf("making the Postgres pool: %w", err)
	}
	d.name = fmt.Sprintf("Postgres %s/%s", net.JoinHostPort(conn.Host, strconv.Itoa(int(conn.Port))), conn.Database)
	return nil
}

// Set on each connection: wait a moment for a lock another process holds (a
// shell, a backup), during which a stop would go unheard; let readers read beside the writer, and sync each commit, so that
// what a source was told is stored survives a power cut too.
const pragmas = "?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-32768)&_pragma=wal_autocheckpoint(4000)&_txlock=immediate"

// openSQLite opens the file.
func (d *Database) openSQLite(ctx context.Context, file string, s stage.Settings) error {
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.StateDir, file)
	}
	if err := checkWritable(file); err != nil {
		return err
	}
	db, err := stdsql.Open("sqlite", file+pragmas)
	if err != nil {
		return stage.Fatal(fmt.Errorf("opening SQLite file %s: %w", file, err))
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return Classify(fmt.Errorf("opening SQLite file %s: %w", file, err))
	}
	d.SQLite, d.name = db, "SQLite "+file
	s.Log.Info("embedded SQLite database " + file + ", for this machine only; for PostgreSQL set " +
		cmp.Or(s.Variables["dsn"], "resources."+s.Name+".dsn") + " to postgres://…")
	return nil
}

// checkWritable makes the file if it is not there, readable by its owner only.
// The operating system says why it cannot better than SQLite would.
func checkWritable(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission),
		strings.Contains(err.Error(), "is a directory"), strings.Contains(err.Error(), "read-only"):
		return stage.Fatal(fmt.Errorf("SQLite needs a file it can write to; make the directory or change dsn: %w", err))
	default:
		return fmt.Errorf("opening SQLite file: %w", err)
	}
}
