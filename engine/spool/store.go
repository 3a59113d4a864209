package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"millrace/engine/stage"
)

// ErrFull says that a spool holds as much as it may.
var ErrFull = errors.New("the spool is full")

// Store is the spool file of one running route. Safe for concurrent use.
type Store struct {
	file string
	max  int64
	log  *slog.Logger
	read *sql.DB

	stores  chan *storing
	removed chan struct{} // 1 while removals wait for the writer
	closing chan struct{}
	closed  chan struct{}

	mu       sync.Mutex
	lanes    map[string]*lane
	batches  int64 // stored and not settled
	events   int64
	bytes    int64     // in the file, or on the way there
	oldest   time.Time // when the oldest batch was stored, at the time of looked
	looked   time.Time
	wanted   int64 // bytes of the last batch that found no room; 0: it did
	attached bool  // there is a chain to deliver to
	away     bool  // the chain has not delivered since it last failed
	backlog  bool  // it was said that there is something to drain, and not yet that it is done
	removals []removal
	commits  int64         // since it was opened
	changed  chan struct{} // closed at the next change
}

// lane is what the file holds of one lane.
type lane struct {
	name    string
	batches int64 // not settled
	unread  int64 // not handed out, those in again not counted
	cursor  int64 // id of the last that was handed out
	out     int64 // events that are handed out
	again   []comeback
}

// comeback is a batch to be handed out again, not before some time.
type comeback struct {
	id    int64
	after time.Time
}

// Status is what a spool holds.
type Status struct {
	Batches, Events, Bytes int64
	Oldest                 time.Time // when the oldest batch was stored; zero: none
	Full                   bool      // the last batch that came found no room
	Away                   bool      // nothing was delivered since the chain failed
}

// Open opens the spool of a route, making the file if needed. max bounds the
// bytes of the batches in it. Damage is stage.Fatal, anything else weather.
func Open(ctx context.Context, file string, max int64, log *slog.Logger) (*Store, error) {
	w, err := openWriter(ctx, file)
	if err != nil {
		return nil, err
	}
	s := &Store{
		file: file, max: max, log: log,
		stores: make(chan *storing), removed: make(chan struct{}, 1),
		closing: make(chan struct{}), closed: make(chan struct{}),
		lanes: make(map[string]*lane),
	}
	if s.read, err = openFile(file, "rw", 2); err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", file, err), w.close())
	}
	if err := s.load(ctx, w); err != nil {
		return nil, errors.Join(fileError(file, "cannot be read", err), s.read.Close(), w.close())
	}
	_ = w.reserve.take() // or else before the first batch is stored, which then fails
	go s.write(w)
	return s, nil
}

// load counts what an earlier run has left.
func (s *Store) load(ctx context.Context, w *writer) error {
	rows, err := s.read.QueryContext(ctx, "SELECT lane, count(*), sum(events), sum(length(data)), min(id) FROM batches GROUP BY lane")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		l := &lane{}
		var events, bytes, first int64
		if err := rows.Scan(&l.name, &l.batches, &events, &bytes, &first); err != nil {
			return err
		}
		l.unread, l.cursor = l.batches, first-1
		s.lanes[l.name] = l
		s.batches, s.events, s.bytes = s.batches+l.batches, s.events+events, s.bytes+bytes
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM batches").Scan(&w.lastID); err != nil {
		return err
	}
	s.backlog = s.batches > 0
	return nil
}

// Close writes what is left to write and closes the file. Nothing may be
// stored or handed out any more.
func (s *Store) Close() error {
	close(s.closing)
	<-s.closed
	return s.read.Close()
}

// File is the name of the file.
func (s *Store) File() string { return s.file }

// Status says what the spool holds now. Oldest may be a second behind.
func (s *Store) Status() Status {
	s.mu.Lock()
	st := Status{Batches: s.batches, Events: s.events, Bytes: s.bytes, Oldest: s.oldest, Full: s.isFull(), Away: s.away}
	look := time.Since(s.looked) >= time.Second
	if look {
		s.looked = time.Now()
	}
	s.mu.Unlock()
	if look {
		st.Oldest = s.findOldest(st.Oldest)
	}
	if st.Batches == 0 {
		st.Oldest = time.Time{}
	}
	return st
}

// findOldest asks the file; while it does not answer, nothing is new.
func (s *Store) findOldest(last time.Time) time.Time {
	var at int64
	err := s.read.QueryRowContext(context.Background(), "SELECT at FROM batches ORDER BY id LIMIT 1").Scan(&at)
	if err != nil {
		return last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest = time.Unix(0, at)
	return s.oldest
}

// put stores a batch and returns when it is on the disk. ErrFull: there is no
// room; nothing was stored. Any other error: treat it as not stored.
func (s *Store) put(laneName string, events int, blob []byte) error {
	if !s.reserve(int64(len(blob))) {
		return ErrFull
	}
	st := &storing{lane: laneName, events: int64(events), blob: blob, done: make(chan error, 1)}
	s.stores <- st
	err := <-st.done
	if err != nil {
		return fileError(s.file, fmt.Sprintf("cannot store %d events", events), err)
	}
	return nil
}

// reserve takes room for a batch. One that is larger than the whole spool gets
// in when it is alone.
func (s *Store) reserve(bytes int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes == 0 || s.bytes+bytes <= s.max {
		s.bytes, s.wanted = s.bytes+bytes, 0
		return true
	}
	if !s.isFull() {
		s.log.Warn("spool is full", "events", s.events, "max", stage.Size(s.max).String())
	}
	s.wanted = bytes
	return false
}

// isFull says whether the last batch that found no room would still find none.
// Called with mu held.
func (s *Store) isFull() bool { return s.wanted > 0 && s.bytes+s.wanted > s.max }

// Attach says that there is a chain now. Before, and after Detach, everything
// is stored.
func (s *Store) Attach() { s.attach(true) }

// Detach says that there is no chain any more, such as one that needs a person.
func (s *Store) Detach() { s.attach(false) }

func (s *Store) attach(there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = there
	s.backlog = s.backlog || s.batches > 0
	s.tell()
}

// direct says whether a batch of a lane may go through the chain: there is one,
// nothing of the lane is stored, and the weather is not known to be bad.
func (s *Store) direct(laneName string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attached {
		return false
	}
	if l := s.lanes[laneName]; l != nil && l.batches > 0 {
		return false
	}
	return !s.away || s.batches == 0
}

// failed notes that the chain could not deliver.
func (s *Store) failed(err error) {
	s.mu.Lock()
	was := s.away
	s.away, s.backlog = true, true
	s.mu.Unlock()
	if !was {
		s.log.Warn("not delivered: events go to the spool until they can be", "error", err)
	}
}

// worked notes that the chain has delivered a batch of the front.
func (s *Store) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
	s.backlog = s.backlog && s.batches > 0
}

// changes is closed when something has happened that may let a batch go on.
func (s *Store) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// tell wakes those that wait for changes. Called with mu held.
func (s *Store) tell() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wrote notes what a commit has done. Called by the writer, before those that
// wait for the commit go on. It says whether nothing is in the file any more.
func (s *Store) wrote(added []*storing, removals []removal) (empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range added {
		l := s.lanes[st.lane]
		if l == nil {
			l = &lane{name: st.lane}
			s.lanes[st.lane] = l
		}
		if l.unread == 0 {
			l.cursor = st.id - 1
		}
		l.batches, l.unread = l.batches+1, l.unread+1
		s.batches, s.events = s.batches+1, s.events+st.events
	}
	for _, r := range removals {
		s.bytes -= r.bytes - int64(len(r.rest))
		s.comeBack(r)
	}
	s.commits++
	s.tell()
	return s.batches == 0 && len(s.removals) == 0
}

// notWrote gives the room of batches back that could not be stored.
func (s *Store) notWrote(added []*storing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range added {
		s.bytes -= int64(len(st.blob))
	}
	s.tell()
}

// removal takes a batch that was handed out out of the file, or what of it is
// settled.
type removal struct {
	id     int64
	lane   *lane
	bytes  int64     // that it had
	rest   []byte    // what is not settled; nil: nothing
	events int64     // in rest
	after  time.Time // when the rest may be handed out again
}

// settled ends a batch that was handed out: n of its events are dealt with,
// delivered says that the chain works.
func (s *Store) settled(r removal, handedOut int64, delivered bool) {
	s.mu.Lock()
	n := handedOut - r.events
	s.events -= n
	r.lane.out -= handedOut
	if r.rest == nil {
		s.batches--
		r.lane.batches--
		if r.lane.batches == 0 && r.lane.out == 0 {
			delete(s.lanes, r.lane.name)
		}
	}
	back := delivered && s.away
	done := s.backlog && s.batches == 0
	s.away, s.backlog = s.away && !delivered, s.backlog && !done
	events := s.events
	unchanged := r.rest != nil && n == 0
	if unchanged {
		s.comeBack(r)
	} else {
		s.removals = append(s.removals, r)
	}
	s.tell()
	s.mu.Unlock()
	switch {
	case done:
		s.log.Info("the spool is empty again")
	case back:
		s.log.Info("delivering again: the spool is being drained", "events", events)
	}
	if !unchanged {
		s.kick()
	}
}

// comeBack lets the rest of a batch be handed out again. Called with mu held.
func (s *Store) comeBack(r removal) {
	if r.rest != nil {
		r.lane.again = append(r.lane.again, comeback{r.id, r.after})
	}
}

// kick tells the writer of removals.
func (s *Store) kick() {
	select {
	case s.removed <- struct{}{}:
	default:
	}
}

func (s *Store) takeRemovals() []removal {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.removals
	s.removals = nil
	return all
}
