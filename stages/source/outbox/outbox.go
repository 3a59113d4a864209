// Package outbox reads events that applications write in their own PostgreSQL transactions.
//
// They write them into a table, in the same transaction as the change that the
// event is about: what was rolled back is never read, what was committed is
// read.
//
// The tables are those of watermill-sql, so that its publisher and this source
// go together, as does plain SQL. Rows are read in the order of their
// transactions, behind the last one that was settled (session.go), and only once
// no transaction that began earlier is still running: else its rows would
// appear behind the position and be skipped. The position follows settled
// events only, in order (reader.go). Nothing is locked and no transaction is
// open while events are under way; that one process at a time reads for a
// group is held by an advisory lock of its connection.
package outbox

import (
	"context"
	"embed"
	"fmt"
	"regexp"
	"time"

	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"

	"millrace/engine/stage"
	"millrace/stages/internal/pubsub"
	"millrace/stages/resource/sql"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name: "outbox", Kind: stage.KindSource, Files: files,
	New: func() any {
		return &Config{Group: "millrace", Schema: schemaCreate, Codec: string(pubsub.JSON), PollInterval: stage.Duration(500 * time.Millisecond)}
	},
}

const (
	schemaCreate = "create"
	schemaCheck  = "check"
)

// Config is what a pipeline file says about an outbox.
type Config struct {
	// Topic names the outbox: the rows are in the table watermill_<topic>, how far each group has
	// read in watermill_offsets_<topic>, as watermill-sql has them. For the topic events, an
	// application writes an event, within its own transaction, with
	//
	//	INSERT INTO watermill_events (uuid, payload, metadata, transaction_id)
	//	VALUES (gen_random_uuid(), '{"level": "INFO", "source": "shop", "message": "order 7 was paid"}', '{}', pg_current_xact_id());
	//
	// or with watermill-sql's publisher on its transaction. The payload's own id is the event's,
	// else the column uuid. Rows stay until the application deletes them; those below the
	// last_processed_transaction_id of every group are no longer needed.
	Topic string `yaml:"topic"`
	// Group remembers how far was read, default millrace. Several groups read the same rows; of
	// several processes with the same group one reads, and another takes over when it ends.
	Group string `yaml:"group"`
	// Schema says what to do about the two tables: create (default; make them if they are not
	// there) or check (only look whether they are).
	Schema string `yaml:"schema"`
	// Codec makes an event of a payload: json (default; the event as JSON, metadata becomes
	// attributes) or raw (the payload is the event's message).
	Codec string `yaml:"codec"`
	// PollInterval is how long to wait before looking again when there was nothing to read, default
	// 500ms.
	PollInterval stage.Duration `yaml:"poll_interval"`
	// Resource is the PostgreSQL database; may be left out when the pipeline has one database.
	// SQLite will not do: an outbox is in the database of the application.
	Resource stage.Ref `yaml:"resource" resource:"sql"`
}

// topicName is what both SQL names and watermill-sql can hold.
var topicName = regexp.MustCompile(`^[A-Za-z0-9_.$:-]{1,45}$`)

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	if !topicName.MatchString(c.Topic) {
		p.Add("topic", "must be 1 to 45 letters, digits or any of _ . $ : -, got %q", c.Topic)
	}
	if c.Group == "" || len(c.Group) > 255 {
		p.Add("group", "must have 1 to 255 characters, got %q", c.Group)
	}
	p.OneOf("schema", c.Schema, schemaCreate, schemaCheck)
	p.OneOf("codec", c.Codec, string(pubsub.JSON), string(pubsub.Raw))
	if c.PollInterval.Std() < 10*time.Millisecond || c.PollInterval.Std() > time.Hour {
		p.Add("poll_interval", "must be from 10ms to 1h, got %v", c.PollInterval)
	}
}

// ValidateResources wants a database that applications can share.
func (c *Config) ValidateResources(p *stage.Problems, config func(stage.Ref) any) {
	if db, ok := config(c.Resource).(*sql.Config); ok && db.File() != "" {
		p.Add("resource", "must be PostgreSQL, where applications write the outbox, and %s is an SQLite file; set resources.%s.dsn to postgres://…",
			c.Resource, c.Resource)
	}
}

// Links names the table.
func (c *Config) Links() []stage.Link {
	return []stage.Link{{What: fmt.Sprintf("sql:%s:watermill_%s", c.Resource, c.Topic)}}
}

// Place says that events stay in the table until they are settled.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{
		Does: fmt.Sprintf("reads what applications committed to watermill_%s, in the order of their transactions, "+
			"and nothing that was rolled back; the position of group %s moves only past settled events", c.Topic, c.Group),
		Crash: "events that were settled after the position was last stored (a moment) are read again, with the same ids; none is skipped",
		Away: "waits; applications go on writing, and a transaction that stays open anywhere in the server holds back the rows " +
			"of those that began after it",
	}
}

// Open makes the reader. It connects with the first Read.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Reader, error) {
	db, err := stage.Use[*sql.Database](s, c.Resource)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	if db.Postgres == nil {
		return nil, stage.Fatal(fmt.Errorf("an outbox needs PostgreSQL, and resource %q is %s; set resources.%s.dsn to postgres://…",
			c.Resource, db, c.Resource))
	}
	return newReader(c, s, db), nil
}

// tables are the statements about the two tables.
type tables struct {
	rows    watermillsql.DefaultPostgreSQLSchema
	offsets watermillsql.DefaultPostgreSQLOffsetsAdapter
	topic   string
}

// create makes both, where they are not there.
func (t tables) create() []watermillsql.Query {
	return append(t.rows.SchemaInitializingQueries(t.topic), t.offsets.SchemaInitializingQueries(t.topic)...)
}

// check fails when one is not there or looks different.
func (t tables) check() []string {
	return []string{
		`SELECT "offset", transaction_id, uuid, payload, metadata, created_at FROM ` + t.rows.MessagesTable(t.topic) + ` LIMIT 0`,
		`SELECT consumer_group, offset_acked, last_processed_transaction_id FROM ` + t.offsets.MessagesOffsetsTable(t.topic) + ` LIMIT 0`,
	}
}

// position asks how far a group ($1) is.
func (t tables) position() string {
	return `SELECT offset_acked, last_processed_transaction_id::text FROM ` + t.offsets.MessagesOffsetsTable(t.topic) +
		` WHERE consumer_group = $1`
}

// next asks for rows behind a position ($1, $2), at most $3, along the primary
// key. Rows of a transaction wait until every earlier one has ended, so that
// none can appear behind a position that was passed. The text of a transaction's
// number has another name than the number: ORDER BY would take it for what is
// meant, and put 10000 before 9999.
func (t tables) next() string {
	return `SELECT "offset", transaction_id::text AS number, uuid, payload, metadata::text, created_at AT TIME ZONE current_setting('TimeZone')
		FROM ` + t.rows.MessagesTable(t.topic) + ` WHERE (transaction_id, "offset") > ($2::text::xid8, $1::bigint)
		AND transaction_id < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY transaction_id, "offset" LIMIT $3`
}
