// Package ledger remembers what a pipeline owes. Every event is issued before
// it is sent; once its sender has been told that it is accepted, it is an
// obligation. What is found in a sink is judged against that:
//
//	missing     an obligation that is not there
//	spurious    something that was never issued
//	corrupted   an event that does not say what was issued
//	duplicate   an event that is there more than once
//
// An event that was issued and never accepted may be there or not: its sender
// was told neither way.
package ledger

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"

	"millrace/internal/evidence"
)

// Ledger may be used from several goroutines.
type Ledger struct {
	mu      sync.Mutex
	entries map[uuid.UUID]*entry
	owed    int
}

type entry struct {
	sum      [sha256.Size]byte
	accepted bool
}

// New is an empty ledger.
func New() *Ledger { return &Ledger{entries: map[uuid.UUID]*entry{}} }

// Issue notes an event that is about to be sent. An id is issued once.
func (l *Ledger) Issue(e *evidence.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries[e.ID] != nil {
		panic(fmt.Sprintf("event %v was issued twice", e.ID))
	}
	l.entries[e.ID] = &entry{sum: e.Sum()}
}

// Accept notes that the sender of an issued event was told that it is taken
// care of.
func (l *Ledger) Accept(id uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[id]; !e.accepted {
		e.accepted = true
		l.owed++
	}
}

// Obligations counts the events that are owed.
func (l *Ledger) Obligations() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed
}

// Verdict is how a sink compares with the ledger.
type Verdict struct {
	Obligations, Found                       int
	Missing, Spurious, Corrupted, Duplicates int
	examples                                 []string
}

// Judge compares what was found in a sink with what is owed.
func (l *Ledger) Judge(found []evidence.Event) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Obligations: l.owed, Found: len(found)}
	seen := make(map[uuid.UUID]bool, len(found))
	for i := range found {
		e := &found[i]
		switch issued := l.entries[e.ID]; {
		case issued == nil:
			v.wrong(&v.Spurious, "event %v (%s) was never issued", e.ID, e.Where)
		case issued.sum != e.Sum():
			v.wrong(&v.Corrupted, "event %v (%s) is not what was issued: %+v", e.ID, e.Where, *e)
		}
		if seen[e.ID] {
			v.Duplicates++
		}
		seen[e.ID] = true
	}
	for id, e := range l.entries {
		if e.accepted && !seen[id] {
			v.wrong(&v.Missing, "event %v was accepted and is not there", id)
		}
	}
	return v
}

func (v *Verdict) wrong(count *int, format string, args ...any) {
	*count++
	if len(v.examples) < 5 {
		v.examples = append(v.examples, fmt.Sprintf(format, args...))
	}
}

// Err is nil when nothing is missing, spurious or corrupted, and, where a sink
// promises to have each event once, nothing is there twice.
func (v Verdict) Err(once bool) error {
	if v.Missing+v.Spurious+v.Corrupted == 0 && (v.Duplicates == 0 || !once) {
		return nil
	}
	return fmt.Errorf("%d obligations, %d found: %d missing, %d spurious, %d corrupted, %d duplicates; such as\n  %s", v.Obligations,
		v.Found, v.Missing, v.Spurious, v.Corrupted, v.Duplicates, strings.Join(v.examples, "\n  "))
}
