package sql

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// work is the memory of one Write, used again by later ones.
type work struct {
	rows       []int             // of the batch, to be written, each id once
	at         map[uuid.UUID]int // index in rows by id
	twins      []int             // conflict: fail: of the batch, whose id rows has from another event
	duplicates int               // events left out because their id comes twice in the batch
	arrays     [numArrays]array  // Postgres: a column each
	params     [numArrays][]byte // Postgres: the arrays of one statement
	inserted   []bool            // conflict: fail: which of rows were not there before
	args       []any             // SQLite: the values of one statement
	text       []byte            // SQLite: where values are put together
}

func newWork() *work { return &work{at: map[uuid.UUID]int{}} }

// pick chooses what to write of a batch's open events. Of events with the same
// id only one goes: the last with conflict: update, else the first. Events
// whose time the database cannot hold are refused; the others of one id are not
// before that one is written, as it may turn out to be bad.
//
// Rows go in the order of their ids: two engines that write the same events
// cannot deadlock then, and ids that are random meet the index in order.
func (k *work) pick(b *event.Batch, base *base, check func(*event.Event) error) {
	k.rows, k.twins, k.duplicates = k.rows[:0], k.twins[:0], 0
	clear(k.at)
	for row, e := range b.Open() {
		if err := check(e); err != nil {
			b.Refuse(row, err)
			continue
		}
		i, twice := k.at[e.ID]
		switch {
		case !twice:
			k.at[e.ID] = len(k.rows)
			k.rows = append(k.rows, row)
		case base.Conflict == conflictFail:
			k.twins = append(k.twins, row)
		default:
			k.duplicates++
			if base.Conflict == conflictUpdate {
				k.rows[i] = row
			}
		}
	}
	byID := func(x, y int) int { return bytes.Compare(b.Event(x).ID[:], b.Event(y).ID[:]) }
	if slices.IsSortedFunc(k.rows, byID) {
		return // as ids made by a clock are
	}
	slices.SortFunc(k.rows, byID)
	for i, row := range k.rows {
		k.at[b.Event(row).ID] = i
	}
}

// refuseTwins refuses the events whose id was committed from another event of
// the batch.
func (k *work) refuseTwins(b *event.Batch, base *base) {
	for _, row := range k.twins {
		b.Refuse(row, fmt.Errorf("event_id %v comes twice in one batch for table %s (conflict: fail)", b.Event(row).ID, base.Table))
	}
}

// refuseUnstorable refuses the events of the batch with text that cannot be
// stored, and says how many.
func (k *work) refuseUnstorable(b *event.Batch) int {
	n := 0
	for row, e := range b.Open() {
		if column := unstorable(e); column != "" {
			b.Refuse(row, unstorableError(column))
			n++
		}
	}
	return n
}

func unstorableError(column string) error {
	return fmt.Errorf("column %s: text with a NUL character (U+0000) or bytes that are not UTF-8 cannot be stored", column)
}

func timeError(t time.Time, database string) error {
	return fmt.Errorf("column timestamp: %s cannot be stored in %s", t.UTC().Format(time.RFC3339Nano), database)
}
