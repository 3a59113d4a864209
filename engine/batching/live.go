package batching

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
)

// Live is a batch in flight: its events, and the parcels they came from. The
// route's outermost handler settles every event of it and then calls Finish.
type Live struct {
	*event.Batch
	sub       *Subscriber
	lane      *lane
	events    []event.Event
	pieces    []piece
	gathered  []event.Event // own memory, for batches from several parcels
	unsettled atomic.Int64
	before    <-chan struct{} // closed when the batch before it in its lane has ended; nil: it had
	ended     chan struct{}   // nil: no other batch of the lane comes ahead of its turn
}

// piece says that rows [from, to) of the batch are events of one parcel, from
// index first on.
type piece struct {
	from, to, first int
	parcel          *parcel
}

type liveKey struct{}

// LiveOf finds the batch in flight that a message of a Subscriber carries; nil
// for another message, such as that of a poison queue which replays its events.
func LiveOf(msg *message.Message) *Live {
	l, _ := msg.Context().Value(liveKey{}).(*Live)
	return l
}

// Diverted notes that n events were delivered to another sink than the route's.
func (l *Live) Diverted(n int) {
	if l != nil { // what is replayed is not in the route's books
		l.sub.books.Diverted(n)
	}
}

// Turn waits until the batch before this one in its lane has ended, or the
// context has. What keeps the order of a lane comes after it: with
// Options.Ahead a batch is handed out before its turn. When the context has
// ended there is no turn any more: the batch before may have been given back,
// and comes again.
func (l *Live) Turn(ctx context.Context) error {
	if l == nil || l.before == nil {
		return nil
	}
	select {
	case <-l.before:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// Finish hands the batch back when all of its events are settled. Neither the
// batch nor its events may be used afterwards. It waits for the batch before
// this one, which comes to its end whatever happens.
func (l *Live) Finish() {
	if l.before != nil {
		<-l.before
	}
	l.sub.finished <- l
}

func newLive(s *Subscriber) *Live {
	l := &Live{Batch: event.NewBatch(nil), sub: s}
	l.OnSettle(l.settled)
	return l
}

// settled is called by the batch whenever events reach an outcome: it keeps
// the books and tells the parcels, whose memory may be gone when it returns.
func (l *Live) settled(first, n int, o event.Outcome) {
	l.sub.books.Settled(o, n)
	if o != event.Returned {
		l.sub.books.Latency(l.events[first:first+n], l.sub.now().UnixNano())
	}
	l.unsettled.Add(-int64(n))
	for _, p := range l.pieces {
		from, to := max(first, p.from), min(first+n, p.to)
		if from < to {
			p.parcel.settle(p.first+from-p.from, to-from, o, func(i int) error { return l.Err(from + i) })
		}
	}
}

// fill makes the batch of the lane's next events: at most size of them, and
// not more than bytes unless the first alone is larger.
func (l *Live) fill(ln *lane, size int, bytes int64) {
	l.lane = ln
	l.take(size, bytes)
	l.join()
	l.Reset(l.events)
	l.unsettled.Store(int64(len(l.events)))
	l.SetLane(ln.name)
	for _, p := range l.pieces {
		l.AddOrigin(p.to, p.parcel.Origin)
		l.refuse(p)
	}
}

// take moves events from the lane's queue to pieces.
func (l *Live) take(size int, bytes int64) {
	ln := l.lane
	clear(l.pieces)
	l.pieces = l.pieces[:0]
	rows := 0
	for rows < size && ln.parcels.len() > 0 {
		p := ln.parcels.first()
		n := min(p.waiting(), size-rows)
		total := p.bytes
		if n < p.waiting() || total > bytes {
			n, total = p.fit(n, bytes, rows == 0)
		}
		if n == 0 {
			break
		}
		l.pieces = append(l.pieces, piece{rows, rows + n, p.next, p})
		total = min(total, p.bytes) // the source's figure is about as much
		if n == p.waiting() {
			total = p.bytes
		}
		p.next, p.bytes = p.next+n, p.bytes-total
		ln.events, ln.bytes = ln.events-n, ln.bytes-total
		rows, bytes = rows+n, bytes-total
		if p.waiting() > 0 {
			break
		}
		ln.parcels.pop()
	}
}

// join makes one slice of the pieces. A batch from a single parcel works on
// the parcel's memory, which is ours until Done: large parcels are not copied.
func (l *Live) join() {
	if len(l.pieces) == 1 {
		p := l.pieces[0]
		l.events = p.parcel.Events[p.first : p.first+p.to]
		return
	}
	l.gathered = l.gathered[:0]
	for _, p := range l.pieces {
		l.gathered = append(l.gathered, p.parcel.Events[p.first:p.first+p.to-p.from]...)
	}
	l.events = l.gathered
}

// refuse marks the rows that the source could not make sense of.
func (l *Live) refuse(p piece) {
	for _, r := range p.parcel.Refused {
		if r.Index >= p.first && r.Index < p.first+p.to-p.from {
			l.Refuse(p.from+r.Index-p.first, r.Err)
		}
	}
}
