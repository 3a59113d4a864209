//go:build faults

package faults

import (
	"strconv"

	"millrace/internal/evidence"
)

// inOrder wants the events of each key to be in the topic in the order in which
// they were sent, as far as each came for the first time. (With two engines one
// may deliver what the other has yet in its spool.)
func (l *lab) inOrder() {
	l.t.Helper()
	last := map[string]int{}
	had := map[string]bool{}
	wrong := 0
	for _, e := range l.read("output") {
		if had[e.ID.String()] {
			continue
		}
		had[e.ID.String()] = true
		key, n := e.Text.CorrelationID, sequence(e)
		if n < last[key] {
			if wrong++; wrong <= 3 {
				l.t.Errorf("order: event %d of %s comes after %d (%s)", n, key, last[key], e.Where)
			}
		}
		last[key] = max(last[key], n)
	}
	if wrong > 0 {
		l.t.Errorf("order: %d events came late", wrong)
	}
}

func sequence(e evidence.Event) int {
	for _, a := range e.Attributes {
		if a.Key == "sequence" {
			n, _ := strconv.Atoi(a.Value)
			return n
		}
	}
	return -1
}
