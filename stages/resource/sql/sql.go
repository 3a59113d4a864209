// Package sql connects to a SQL database, for the stages that share it.
//
// The address decides which database it is. `postgres://…` is a PostgreSQL
// server, reached through a pool of connections that are made when first
// needed. `sqlite:<file>` is a database in one local file, inside this process,
// so that a pipeline runs with nothing installed. Stages get the opened
// *Database and talk to the pool it holds; Classify turns what goes wrong there
// into the error classes of the contract, the same way for all of them.
package sql

import (
	"context"
	stdsql "database/sql"
	"embed"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name: "sql", Kind: stage.KindResource, Files: files,
	New: func() any {
		return &Config{Pool: 20, ConnectTimeout: stage.Duration(5 * time.Second)}
	},
}

// Config is what a user writes.
type Config struct {
	// Dsn is the address of the database, required: postgres://user:password@host:5432/database,
	// or sqlite:<file> for a local file in this process; a relative file lies in the state
	// directory. Never shown.
	Dsn stage.Secret `yaml:"dsn"`
	// Pool is how many connections to Postgres may be open at once. Default 20. They are opened
	// when needed. SQLite always has one: it allows a single writer.
	Pool int `yaml:"pool"`
	// ConnectTimeout is how long one attempt to connect to Postgres may take. Default 5s.
	ConnectTimeout stage.Duration `yaml:"connect_timeout"`
}

// File is the SQLite file that the address names, as it stands there; "": the
// database is on a PostgreSQL server.
func (c *Config) File() string {
	a, err := parseAddress(c.Dsn.Reveal())
	if err != nil {
		return ""
	}
	return a.file
}

// Local names a file in the state directory.
func (c *Config) Local() (key, value string) {
	if file := c.File(); file != "" && !filepath.IsAbs(file) {
		return "dsn", "sqlite:" + file
	}
	return "", ""
}

// Validate reports what is wrong without connecting.
func (c *Config) Validate(p *stage.Problems) {
	if c.Dsn == "" {
		p.Add("dsn", "is required: %s", forms)
	} else if a, err := parseAddress(c.Dsn.Reveal()); err != nil {
		p.Add("dsn", "%v", err)
	} else if a.file == "" {
		if _, err := poolConfig(a.postgres); err != nil {
			p.Add("dsn", "%v", err)
		}
	}
	if c.Pool < 1 || c.Pool > 10000 {
		p.Add("pool", "must be from 1 to 10000 connections, got %d", c.Pool)
	}
	if c.ConnectTimeout <= 0 {
		p.Add("connect_timeout", "must be above 0, got %v", c.ConnectTimeout)
	}
}

// Explain tells what the resource does to a route's guarantee.
func (c *Config) Explain() stage.Explanation {
	if a, err := parseAddress(c.Dsn.Reveal()); err == nil && a.file != "" {
		return stage.Explanation{
			Does:  "keeps rows in a local SQLite file; a commit is on disk (WAL, synchronous=FULL) before it counts",
			Crash: "committed rows survive the death of the process and, where the disk keeps its promises, a power cut",
			Away:  "a full or failing disk is waited out; a file that cannot be written to parks the route",
		}
	}
	return stage.Explanation{
		Does: "connects to PostgreSQL through a bounded pool",
		Away: "connections are made again when the server is back; a wrong password or a missing database parks the route",
	}
}

// Open makes the pool. It needs no network: Postgres is connected to when first
// used. The SQLite file is opened, and made if it is not there.
func (c *Config) Open(ctx context.Context, s stage.Settings) (io.Closer, error) {
	a, err := parseAddress(c.Dsn.Reveal())
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("dsn: %w", err))
	}
	db := &Database{}
	if a.file != "" {
		err = db.openSQLite(ctx, a.file, s)
	} else {
		err = db.openPostgres(ctx, a.postgres, c, s)
	}
	if err != nil {
		return nil, err
	}
	if err := db.measure(s.Metrics); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// Database is the opened resource. Exactly one of Postgres and SQLite is set.
// Safe for use from many goroutines.
type Database struct {
	// Postgres is the pool of connections to a PostgreSQL server.
	Postgres *pgxpool.Pool
	// SQLite is the database in a file. It has one connection: a transaction
	// keeps all others waiting, so it must be short. Transactions take the
	// write lock when they begin.
	SQLite *stdsql.DB

	name string
}

// String says which database this is, without user or password.
func (d *Database) String() string { return d.name }

// Probe makes one round trip.
func (d *Database) Probe(ctx context.Context) error {
	var err error
	if d.Postgres != nil {
		err = d.Postgres.Ping(ctx)
	} else {
		_, err = d.SQLite.ExecContext(ctx, "SELECT count(*) FROM sqlite_schema")
	}
	return Classify(err)
}

// Close closes all connections. It waits for those in use.
func (d *Database) Close() error {
	if d.Postgres != nil {
		d.Postgres.Close()
		return nil
	}
	return d.SQLite.Close()
}

// measure registers the gauge of connections by state.
func (d *Database) measure(metrics prometheus.Registerer) error {
	states := map[string]func() float64{}
	if d.Postgres != nil {
		states["in_use"] = func() float64 { return float64(d.Postgres.Stat().AcquiredConns()) }
		states["idle"] = func() float64 { return float64(d.Postgres.Stat().IdleConns()) }
		states["connecting"] = func() float64 { return float64(d.Postgres.Stat().ConstructingConns()) }
		states["max"] = func() float64 { return float64(d.Postgres.Stat().MaxConns()) }
	} else {
		states["in_use"] = func() float64 { return float64(d.SQLite.Stats().InUse) }
		states["idle"] = func() float64 { return float64(d.SQLite.Stats().Idle) }
		states["max"] = func() float64 { return float64(d.SQLite.Stats().MaxOpenConnections) }
	}
	for state, read := range states {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "sql_pool_connections",
			Help:        "Connections of the SQL pool by state; max is the bound.",
			ConstLabels: prometheus.Labels{"state": state},
		}, read)
		if err := metrics.Register(gauge); err != nil {
			return fmt.Errorf("registering sql_pool_connections: %w", err)
		}
	}
	return nil
}
