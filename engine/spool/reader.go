package spool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Reader is the source of the drain: it hands out what is stored, the oldest
// first and each lane in its order, and takes out of the file what is settled.
type Reader struct {
	store *Store
	rate  float64 // events/s; 0: no bound
	ahead int64   // events of a lane that may be handed out

	next      []event.Parcel // read and not yet handed out
	due       time.Time      // when the next may be, by the rate
	finishing atomic.Bool
}

// NewReader makes the source of the drain of s. rate bounds the events per
// second that it hands out (0: no bound), ahead those of one lane that are not
// settled.
func NewReader(s *Store, rate float64, ahead int) *Reader {
	return &Reader{store: s, rate: rate, ahead: int64(ahead)}
}

// Read hands out a stretch of a stored batch, waiting until there is one. A
// damaged batch is stage.Fatal. After Finish it ends with io.EOF when
// everything is settled.
func (r *Reader) Read(ctx context.Context) (event.Parcel, error) {
	for len(r.next) == 0 {
		changed := r.store.changes()
		l, wait := r.store.nextLane(r.ahead)
		if l == nil {
			if r.finishing.Load() && r.store.empty() {
				return event.Parcel{}, io.EOF
			}
			if err := await(ctx, changed, wait); err != nil {
				return event.Parcel{}, err
			}
			continue
		}
		if err := r.load(ctx, l); err != nil {
			return event.Parcel{}, err
		}
	}
	if err := r.pace(ctx, len(r.next[0].Events)); err != nil {
		return event.Parcel{}, err
	}
	p := r.next[0]
	r.next = r.next[1:]
	return p, nil
}

// await waits for a change, or for a time if there is one.
func await(ctx context.Context, changed <-chan struct{}, wait time.Duration) error {
	var due <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// pace waits until n more events may go.
func (r *Reader) pace(ctx context.Context, n int) error {
	if r.rate <= 0 {
		return nil
	}
	now := time.Now()
	if err := stage.SystemClock.Sleep(ctx, r.due.Sub(now)); err != nil {
		return err
	}
	if r.due.Before(now) {
		r.due = now
	}
	r.due = r.due.Add(time.Duration(float64(n) / r.rate * float64(time.Second)))
	return nil
}

// load reads the next batches of a lane. Their parcels are handed out by the
// next calls of Read.
func (r *Reader) load(ctx context.Context, l *lane) error {
	found, err := r.store.fetch(ctx, l)
	if err != nil {
		return err
	}
	for _, b := range found {
		r.next = append(r.next, b.parcels()...)
	}
	return nil
}

// Finish says that nothing more will be stored: Read ends when the spool is
// empty.
func (r *Reader) Finish(context.Context) error {
	r.finishing.Store(true)
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.store.tell()
	return nil
}

// Close has nothing to let go: the Store is closed by itself.
func (r *Reader) Close(context.Context) error { return nil }

func (s *Store) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches == 0
}

// nextLane finds the lane that has waited longest and has less than ahead
// events handed out; nil: there is none, ask again after wait (0: when
// something changes).
func (s *Store) nextLane(ahead int64) (next *lane, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range s.lanes {
		if l.out >= ahead {
			continue
		}
		if len(l.again) > 0 {
			if w := l.again[0].after.Sub(now); w > 0 {
				if wait == 0 || w < wait {
					wait = w
				}
			} else {
				return l, 0
			}
		}
		if l.unread > 0 && (next == nil || l.cursor < next.cursor) {
			next = l
		}
	}
	return next, wait
}

// A fetch reads batches of one lane until it has about a batch for the chain:
// they may have been stored a few events at a time.
const (
	fetchBatches = 64
	fetchBytes   = 256 << 10
)

// fetch reads the next batches of a lane, and counts them as handed out.
func (s *Store) fetch(ctx context.Context, l *lane) ([]*batch, error) {
	s.mu.Lock()
	cursor, limit := l.cursor, min(l.unread, fetchBatches)
	var again int64
	if len(l.again) > 0 && !l.again[0].after.After(time.Now()) {
		again = l.again[0].id
	}
	s.mu.Unlock()
	query, args := "SELECT id, events, at, data FROM batches WHERE lane = ? AND id > ? ORDER BY id LIMIT ?", []any{l.name, cursor, limit}
	if again != 0 {
		query, args = "SELECT id, events, at, data FROM batches WHERE id = ?", []any{again}
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.unreadable(ctx, err)
	}
	defer rows.Close()
	var found []*batch
	for bytes := 0; bytes < fetchBytes && rows.Next(); {
		b := &batch{store: s, lane: l}
		var events int
		var at int64
		if err := rows.Scan(&b.id, &events, &at, &b.blob); err != nil {
			return nil, s.unreadable(ctx, err)
		}
		if b.stored, err = check(b.blob, l.name, events); err != nil {
			return nil, stage.Fatal(&DamagedError{File: s.file, Batch: b.id, Err: err})
		}
		found, bytes = append(found, b), bytes+len(b.blob)
	}
	if err := rows.Err(); err != nil {
		return nil, s.unreadable(ctx, err)
	}
	if len(found) == 0 {
		return nil, stage.Fatal(&DamagedError{File: s.file, Err: fmt.Errorf("batches of lane %q that were stored are gone", l.name)})
	}
	s.handOut(l, found, again != 0)
	return found, nil
}

// check decodes a blob and compares it with what its row says of it.
func check(blob []byte, lane string, events int) (*stored, error) {
	st, err := decode(blob)
	if err != nil {
		return nil, err
	}
	if st.lane != lane || len(st.events) != events {
		return nil, fmt.Errorf("holds %d events of lane %q where there should be %d of lane %q", len(st.events), st.lane, events, lane)
	}
	return st, nil
}

func (s *Store) unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // told to stop: whatever the driver says
	}
	return fileError(s.file, "cannot be read", err)
}

func (s *Store) handOut(l *lane, found []*batch, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range found {
		l.out += int64(len(b.events))
	}
	if again {
		l.again = l.again[1:]
		return
	}
	l.unread -= int64(len(found))
	l.cursor = found[len(found)-1].id
}

// batch is a stored batch that is handed out.
type batch struct {
	*stored
	id    int64
	lane  *lane
	blob  []byte
	store *Store

	mu        sync.Mutex
	open      int   // parcels that are not settled
	rest      []int // events that are to be handed out again
	rejected  bool  // some of them the chain said no to
	delivered bool
}

// parcels cuts the batch into its origins.
func (b *batch) parcels() []event.Parcel {
	list := make([]event.Parcel, 0, len(b.runs))
	end := 0
	for _, r := range b.runs {
		first := end
		end += r.events
		list = append(list, event.Parcel{
			Lane: b.lane.name, Events: b.events[first:end:end], Origin: r.origin,
			Done: func(receipt event.Receipt) { b.done(first, receipt) },
		})
	}
	b.open = len(list)
	return list
}

// pauseAfterNo is when events may be handed out again that the chain rejected,
// such as a limiter: nobody else could be told.
const pauseAfterNo = time.Second

// done notes what became of a parcel. The last one takes the batch out of the
// file, or leaves in it what was given back or rejected.
func (b *batch) done(first int, r event.Receipt) {
	b.mu.Lock()
	for _, x := range r.Exceptions {
		if x.Outcome == event.Returned || x.Outcome == event.Rejected {
			b.rest = append(b.rest, first+x.Index)
			b.rejected = b.rejected || x.Outcome == event.Rejected
		}
	}
	b.delivered = b.delivered || r.Counts[event.Delivered] > 0
	b.open--
	last := b.open == 0
	b.mu.Unlock()
	if last {
		b.settle()
	}
}

func (b *batch) settle() {
	out := removal{id: b.id, lane: b.lane, bytes: int64(len(b.blob)), events: int64(len(b.rest))}
	if len(b.rest) > 0 {
		slices.Sort(b.rest)
		out.rest = b.without(b.blob, func(i int) bool {
			_, kept := slices.BinarySearch(b.rest, i)
			return kept
		})
	}
	if b.rejected {
		out.after = time.Now().Add(pauseAfterNo)
	}
	b.store.settled(out, int64(len(b.events)), b.delivered)
}
