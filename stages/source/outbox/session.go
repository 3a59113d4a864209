package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"millrace/engine/stage"
	"millrace/stages/resource/sql"
)

// session is a connection that holds the right to read for the group. When it
// breaks, the right is gone with it, and so is everything that was read and
// not settled: the next session reads it again. For one goroutine at a time.
type session struct {
	tables
	group string
	conn  *pgxpool.Conn
	read  position // everything up to it was handed out
}

// position is a place in the order of the rows.
type position struct {
	offset      int64
	transaction string
}

// row is one row of the outbox.
type row struct {
	at      position
	msg     *message.Message
	created time.Time
	err     error // why its metadata makes no sense
}

var errTaken = errors.New("another process reads for the group")

// connect takes the right to read and finds the position; errTaken: another
// process has the right.
func connect(ctx context.Context, pool *pgxpool.Pool, c *Config) (_ *session, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("outbox %s: %w", c.Topic, sql.Classify(err))
	}
	s := &session{tables: tables{topic: c.Topic}, group: c.Group, conn: conn}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	var mine bool
	name := fmt.Sprintf("outbox %s of group %s", s.rows.MessagesTable(c.Topic), c.Group)
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, name).Scan(&mine); err != nil {
		return nil, s.wrap(err)
	}
	if !mine {
		return nil, errTaken
	}
	if err := s.prepare(ctx, c.Schema == schemaCreate); err != nil {
		return nil, err
	}
	for _, q := range s.offsets.BeforeSubscribingQueries(s.topic, s.group) {
		if _, err := conn.Exec(ctx, q.Query, q.Args...); err != nil {
			return nil, s.wrap(err)
		}
	}
	err = conn.QueryRow(ctx, s.position(), s.group).Scan(&s.read.offset, &s.read.transaction)
	return s, s.wrap(err)
}

// prepare makes the tables, or looks whether they are there.
func (s *session) prepare(ctx context.Context, create bool) error {
	if create {
		return s.wrap(pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
			// Two that make the same table at once disturb each other.
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "making "+s.rows.MessagesTable(s.topic)); err != nil {
				return err
			}
			for _, q := range s.create() {
				if _, err := tx.Exec(ctx, q.Query, q.Args...); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, query := range s.check() {
		if _, err := s.conn.Exec(ctx, query); err != nil {
			return s.explainCheck(err)
		}
	}
	return nil
}

// explainCheck says what to do about tables that are not as they should be.
func (s *session) explainCheck(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "42703") {
		return stage.Fatal(fmt.Errorf("outbox %s: %s (%s); set schema: create, or make the tables as watermill-sql does",
			s.topic, pg.Message, pg.Code))
	}
	return s.wrap(err)
}

func (s *session) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("outbox %s: %w", s.topic, sql.Classify(err))
}

// next reads up to limit rows behind what was read before.
func (s *session) nextRows(ctx context.Context, limit int) ([]row, error) {
	found, err := s.conn.Query(ctx, s.next(), s.read.offset, s.read.transaction, limit)
	if err != nil {
		return nil, s.wrap(err)
	}
	rows, err := pgx.CollectRows(found, scan)
	if err != nil {
		return nil, s.wrap(err)
	}
	if len(rows) > 0 {
		s.read = rows[len(rows)-1].at
	}
	return rows, nil
}

// scan reads one row. It does not fail for what an application wrote: one bad
// row must not keep back those behind it.
func scan(from pgx.CollectableRow) (row, error) {
	var r row
	var id, metadata *string
	var payload []byte
	var created *time.Time
	if err := from.Scan(&r.at.offset, &r.at.transaction, &id, &payload, &metadata, &created); err != nil {
		return row{}, err
	}
	r.msg = message.NewMessage("", payload)
	if id != nil {
		r.msg.UUID = *id
	}
	if created != nil {
		r.created = *created
	}
	if metadata != nil && json.Unmarshal([]byte(*metadata), &r.msg.Metadata) != nil {
		r.msg.Metadata = message.Metadata{}
		r.err = fmt.Errorf("metadata must be an object of texts, got %.100q", *metadata)
	}
	return r, nil
}

// store makes a position durable.
func (s *session) store(ctx context.Context, at position) error {
	q := s.offsets.AckMessageQuery(s.topic, watermillsql.Row{
		Offset: at.offset, ExtraData: map[string]any{"transaction_id": at.transaction},
	}, s.group)
	_, err := s.conn.Exec(ctx, q.Query, q.Args...)
	return s.wrap(err)
}

// close ends the connection, and the right to read with it, even where the
// server is not to be reached.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Conn().Close(ctx) // broken or not, it is not used again
	s.conn.Release()
}
