package generator

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestIDsAreVersion7AndCarryTheIntendedTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := ids{rapid.Uint64().Draw(t, "random")}
		due := rapid.Int64Range(0, 1<<62).Draw(t, "due")
		id := s.id(due, rapid.Int64Min(0).Draw(t, "event"))
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Fatalf("%v has version %v, variant %v", id, id.Version(), id.Variant())
		}
		ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
		if ms != due/int64(time.Millisecond) {
			t.Fatalf("%v carries %d ms, due at %d ns", id, ms, due)
		}
	})
}

func TestIDsAreUniqueAndSortedByIntendedTime(t *testing.T) {
	first, second := newTestIDs(t), newTestIDs(t)
	seen := make(map[uuid.UUID]bool)
	var last uuid.UUID
	for i := range int64(100_000) {
		due := epoch.UnixNano() + i*250 // a little more than the grain of the ids
		for _, s := range []ids{first, second} {
			id := s.id(due, i)
			if seen[id] {
				t.Fatalf("event %d: %v exists already", i, id)
			}
			seen[id] = true
		}
		id := first.id(due, i)
		if bytes.Compare(id[:8], last[:8]) <= 0 {
			t.Fatalf("event %d: %v sorts before %v", i, id, last)
		}
		last = id
	}
	for i := range int64(100_000) { // all at one time, as after the rate max
		id := first.id(0, i)
		if seen[id] {
			t.Fatalf("event %d: %v exists already", i, id)
		}
		seen[id] = true
	}
}

func newTestIDs(t *testing.T) ids {
	s, err := newIDs()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
