package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// store keeps the streams of a route in the state database.
type store struct {
	db    *sql.DB
	route string
}

const schema = `CREATE TABLE IF NOT EXISTS file_checkpoints (
	route TEXT NOT NULL,
	id BLOB NOT NULL,
	path TEXT NOT NULL,
	device INTEGER NOT NULL,
	inode INTEGER NOT NULL,
	head BLOB NOT NULL,
	offset INTEGER NOT NULL,
	part INTEGER NOT NULL,
	tail_size INTEGER NOT NULL,
	tail_sum INTEGER NOT NULL,
	packed_size INTEGER NOT NULL,
	packed_changed INTEGER NOT NULL,
	seen INTEGER NOT NULL,
	PRIMARY KEY (route, id)
) WITHOUT ROWID`

// load reads all streams of the route, and makes the table if needed.
func (s *store) load(ctx context.Context) (known []*stream, err error) {
	if _, err := s.db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT id, path, device, inode, head, offset, part, tail_size, tail_sum,
		packed_size, packed_changed, seen FROM file_checkpoints WHERE route = ? ORDER BY seen, id`, s.route)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		st, err := scanRow(rows)
		if err != nil {
			return nil, err
		}
		known = append(known, st)
	}
	return known, rows.Err()
}

func scanRow(rows *sql.Rows) (*stream, error) {
	var (
		st                       stream
		id                       []byte
		device, inode, sum, seen int64
		at                       place
	)
	err := rows.Scan(&id, &st.path, &device, &inode, &st.head, &at.Offset, &at.Part, &at.tail.size, &sum,
		&st.packed.size, &st.packed.changed, &seen)
	if err == nil && copy(st.id[:], id) != len(st.id) {
		err = fmt.Errorf("table file_checkpoints: %x is no id", id)
	}
	st.key, at.tail.sum = key{uint64(device), uint64(inode)}, uint64(sum)
	st.pinned = len(st.head)
	st.at, st.settled, st.seen = at, at, time.Unix(seen, 0)
	return &st, err
}

// row is what of a stream is stored.
type row struct {
	id     identity
	at     place
	whole  bool // not only the place has changed
	head   []byte
	path   string
	key    key
	packed packed
	seen   time.Time
}

// row copies what is to be stored.
func (s *stream) row() row {
	w := row{s.id, s.settled, s.renewed, s.head, s.path, s.key, s.packed, s.seen}
	if s.settled.Offset < s.length {
		w.packed = packed{} // read to its end, but not settled
	}
	return w
}

// save writes rows, all or none. When it returns they are durable.
func (s *store) save(ctx context.Context, rows []row) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after Commit
	put, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO file_checkpoints
		(route, id, path, device, inode, head, offset, part, tail_size, tail_sum, packed_size, packed_changed, seen)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer put.Close()
	move, err := tx.PrepareContext(ctx, `UPDATE file_checkpoints SET offset = ?, part = ?, tail_size = ?, tail_sum = ?
		WHERE route = ? AND id = ?`)
	if err != nil {
		return err
	}
	defer move.Close()
	for _, w := range rows {
		if w.whole {
			_, err = put.ExecContext(ctx, s.route, w.id[:], w.path, int64(w.key.device), int64(w.key.inode), notNil(w.head),
				w.at.Offset, w.at.Part, w.at.tail.size, int64(w.at.tail.sum), w.packed.size, w.packed.changed, w.seen.Unix())
		} else {
			_, err = move.ExecContext(ctx, w.at.Offset, w.at.Part, w.at.tail.size, int64(w.at.tail.sum), s.route, w.id[:])
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// forget takes streams out.
func (s *store) forget(ctx context.Context, ids []identity) error {
	for _, id := range ids {
		if _, err := s.db.ExecContext(ctx, `DELETE FROM file_checkpoints WHERE route = ? AND id = ?`, s.route, id[:]); err != nil {
			return err
		}
	}
	return nil
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
