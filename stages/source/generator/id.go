package generator

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
)

// ids makes the UUIDv7 of events: the intended time to a 4096th of a
// millisecond, which keeps ids sorted, and 62 bits that are random per run
// plus the event's number. So ids are unique within a run by counting, and
// between instances and restarts by chance; they never come from the content's
// seed, which instances share.
type ids struct {
	random uint64
}

func newIDs() (ids, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return ids{}, fmt.Errorf("drawing the random part of event ids: %w", err)
	}
	return ids{binary.LittleEndian.Uint64(b[:])}, nil
}

// stride spreads consecutive numbers over all 62 bits. It is odd, so that they
// do not meet again before all 2^62 have been used.
const stride = 0x9e3779b97f4a7c15

// id is the id of event number i, due at this time in Unix nanoseconds.
func (s ids) id(due, i int64) (id uuid.UUID) {
	const version, variant, low62 = 7 << 12, 1 << 63, 1<<62 - 1
	ms, ns := uint64(due)/1e6, uint64(due)%1e6
	binary.BigEndian.PutUint64(id[:8], ms<<16|version|ns<<12/1e6)
	binary.BigEndian.PutUint64(id[8:], variant|(s.random+uint64(i)*stride)&low62)
	return id
}
