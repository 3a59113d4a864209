package http

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"

	"github.com/google/uuid"
)

// newID makes a UUIDv7: the time in milliseconds, and 74 random bits. The
// random numbers are those of ChaCha8, which each thread has for itself, so
// that requests do not wait for each other.
func newID(millis int64) (id uuid.UUID) {
	const version, variant, low62 = 7 << 12, 1 << 63, 1<<62 - 1
	a, b := rand.Uint64(), rand.Uint64()
	binary.BigEndian.PutUint64(id[:8], uint64(millis)<<16|version|a&0xfff)
	binary.BigEndian.PutUint64(id[8:], variant|b&low62)
	return id
}

// longestKey bounds an Idempotency-Key.
const longestKey = 255

// idempotent makes the ids of a request that comes with an Idempotency-Key:
// the same for the same event of the same request by the same user, however
// often it is sent.
type idempotent struct{ space uuid.UUID }

func newIdempotent(user, key string) idempotent {
	return idempotent{uuid.NewSHA1(uuid.NameSpaceOID, []byte("idempotency-key\x00"+user+"\x00"+key))}
}

func (i idempotent) id(item int) uuid.UUID {
	return uuid.NewSHA1(i.space, strconv.AppendInt(nil, int64(item), 10))
}
