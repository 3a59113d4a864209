package poison

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// same tells records of the same event in the same place apart from others: it
// is stored again after a crash, and when it failed again.
type same [16]byte

// String is how a table keeps it.
func (s same) String() string { return hex.EncodeToString(s[:]) }

// sameness goes by where an event came from and by the bytes that came. Two
// clients may send different events under one id, and neither must take the
// other's place. Not by those of an event that was made in the pipeline: they
// change on its way, and its id was made there too.
func sameness(e *Entry) (s same) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %s %q %q %d %d", e.Pipeline, e.Route, e.EventID, e.Origin.Kind, e.Origin.Name, e.Origin.Partition, e.Origin.Offset)
	if e.Form != FormEvent {
		fmt.Fprintf(h, " %t ", e.Form == FormNull)
		h.Write(e.Payload)
	}
	copy(s[:], h.Sum(nil))
	return s
}
