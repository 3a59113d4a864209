// Package batching turns what a source reads into batches.
//
// A Subscriber is the engine's one implementation of Watermill's
// message.Subscriber. Two goroutines work in it:
//
//   - the reader calls Read of the route's source, over and over;
//   - the assembler queues the parcels by lane, cuts batches from the queues
//     (by size, bytes, or age), hands each out as one message, and takes it
//     back when it is finished.
//
// All queues and lanes belong to the assembler alone, so they need no locks.
// What is in flight is bounded: InFlight batches in all, one of each ordered
// lane, and with Ahead a second one that waits for its turn, as long as no other
// lane wants to begin: it is not counted, or a lane that is stuck would keep the
// place of another.
// When that many are out and enough events wait, the reader is not
// listened to any more: backpressure is blocking, back to the source.
package batching

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/books"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// Options bound batches.
type Options struct {
	Size     int           // events of a batch
	Linger   time.Duration // the oldest event of a batch waits no longer than this for others
	Bytes    int64         // size of a batch
	MaxEvent int64         // size of an event; larger ones are refused
	InFlight int           // batches
	// Ahead hands out a second batch of an ordered lane, which has to wait for its
	// Turn: what needs no order can be done with it while the first is written.
	Ahead bool
}

// Subscriber makes batches of what one Reader reads, once: it cannot be
// started again.
type Subscriber struct {
	reader stage.Reader
	opts   Options
	books  *books.Books
	log    *slog.Logger
	fatal  func(error)
	now    func() time.Time

	stop     context.CancelFunc // ends reading
	reading  context.Context
	drain    context.Context // ends: give everything back
	parcels  chan *parcel
	finished chan *Live
	out      chan *message.Message
	drained  chan struct{}
	closing  sync.Once

	queued atomic.Int64 // events in lanes, or on the way there
	mu     sync.Mutex
	lives  []*Live // all that were ever made; read for counting

	// Only the assembler touches what follows.
	lanes    map[string]*lane
	active   []*lane // those with waiting events, longest waiting first
	free     []*Live
	inFlight int   // batches that have their turn
	waiting  int   // events in lanes
	ready    int   // those of them in lanes that are not busy
	weight   int64 // bytes of the events in lanes
	draining bool  // the reader has ended: do not linger
}

// New makes a Subscriber. When the drain context ends, what is not in flight
// is returned to its source; messages derive their context from it. fatal is
// called at most once, when the reader fails for good.
func New(drain context.Context, reader stage.Reader, opts Options, b *books.Books, log *slog.Logger, fatal func(error)) *Subscriber {
	s := &Subscriber{
		reader: reader, opts: opts, books: b, log: log, fatal: fatal, now: time.Now,
		drain:    drain,
		parcels:  make(chan *parcel),
		finished: make(chan *Live, 2*opts.InFlight),
		out:      make(chan *message.Message),
		drained:  make(chan struct{}),
		lanes:    make(map[string]*lane),
	}
	s.reading, s.stop = context.WithCancel(drain)
	b.CountInFlight(s.unsettled)
	return s
}

// Subscribe starts reading. The router calls it; the topic is of no meaning.
func (s *Subscriber) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	go s.read()
	go s.assemble()
	return s.out, nil
}

// Stop ends reading; what was read goes on to be settled.
func (s *Subscriber) Stop() { s.stop() }

// Drained is closed when nothing is read any more and everything that was is
// settled.
func (s *Subscriber) Drained() <-chan struct{} { return s.drained }

// Close ends the stream of messages, which ends the router. It stops reading
// and waits until everything is settled: the caller sees to that first.
func (s *Subscriber) Close() error {
	s.stop()
	<-s.drained
	s.closing.Do(func() { close(s.out) })
	return nil
}

// Queued is how many events wait for a batch.
func (s *Subscriber) Queued() int64 { return s.queued.Load() }

// unsettled counts the events in the queues and in the batches that are out.
func (s *Subscriber) unsettled() int64 {
	n := s.queued.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lives {
		n += l.unsettled.Load()
	}
	return n
}

// Backoff of a source that cannot be read, and of a chain that cannot deliver.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// Pause is the wait before attempt n (from 0) is repeated: doubling from
// 100 ms to 10 s, of which a random half is kept, so that routes that failed
// together do not come back together.
func Pause(n int) time.Duration {
	d := min(firstPause<<min(n, 10), longestPause)
	return d/2 + rand.N(d/2+1)
}

// read is the reader goroutine.
func (s *Subscriber) read() {
	defer close(s.parcels)
	for failures := 0; ; {
		p, err := s.readOnce()
		if err == nil || len(p.Events) > 0 {
			s.accept(p)
		}
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, io.EOF), s.reading.Err() != nil:
			return
		case stage.ClassOf(err) == stage.Unfixable:
			s.fatal(err)
			return
		default:
			s.log.Warn("cannot read, will try again", "error", err)
			if stage.SystemClock.Sleep(s.reading, max(Pause(failures), stage.RetryAfter(err))) != nil {
				return
			}
			failures++
		}
	}
}

func (s *Subscriber) readOnce() (p event.Parcel, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = stage.Fatal(fmt.Errorf("the source panicked: %v\n%s", r, debug.Stack()))
		}
	}()
	return s.reader.Read(s.reading)
}

// accept counts a parcel in and hands it to the assembler.
func (s *Subscriber) accept(from event.Parcel) {
	if len(from.Events) == 0 {
		if from.Done != nil {
			from.Done(event.Receipt{})
		}
		return
	}
	p := newParcel(from, s.now(), s.opts.MaxEvent)
	s.queued.Add(int64(len(p.Events)))
	s.books.In(len(p.Events), p.bytes)
	s.parcels <- p // the assembler listens until this channel is closed
}

// assemble is the assembler goroutine.
func (s *Subscriber) assemble() {
	defer close(s.drained)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	parcels, given := s.parcels, s.drain.Done()
	for {
		if s.drain.Err() != nil { // before handing out: nothing new begins
			given = nil
			s.giveBack()
		}
		next := s.handOut()
		if parcels == nil && s.inFlight == 0 && s.waiting == 0 {
			return
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		listen := parcels
		if given != nil && s.enough() {
			listen = nil // push back
		}
		select {
		case p, ok := <-listen:
			if !ok {
				parcels, s.draining = nil, true
				continue
			}
			s.queue(p)
		case l := <-s.finished:
			s.takeBack(l)
		case <-timer.C:
		case <-given:
		}
	}
}

// maxWaiting bounds the events in the lanes, so that a lane that is stuck can
// fill up while the others flow: its source bounds what it hands out of it.
const maxWaiting = 100_000

// maxWeight bounds their bytes, beyond what the next batches can hold.
const maxWeight = 32 << 20

// enough says that more events wait than the next batches can hold. Those of a
// busy lane hardly count: nothing can be done with them now, and the other
// lanes' come behind them.
func (s *Subscriber) enough() bool {
	batches := s.opts.InFlight + 1
	return s.ready >= s.opts.Size*batches || s.waiting >= max(maxWaiting, s.opts.Size*batches) ||
		s.weight >= max(maxWeight, s.opts.Bytes*int64(batches))
}

// queue puts a parcel in its lane.
func (s *Subscriber) queue(p *parcel) {
	ln := s.lanes[p.Lane]
	if ln == nil {
		ln = &lane{name: p.Lane}
		s.lanes[p.Lane] = ln
	}
	ln.add(p)
	s.waiting += len(p.Events)
	s.weight += p.bytes
	if ln.out == 0 {
		s.ready += len(p.Events)
	}
	if !ln.active {
		ln.active = true
		s.active = append(s.active, ln)
	}
}

// handOut hands out every batch that is ready, and says when the next will be
// by its age; zero: not before something else happens. Lanes with nothing on
// its way come first.
func (s *Subscriber) handOut() (next time.Time) {
	next = s.handOutOf(0)
	if s.opts.Ahead {
		s.handOutOf(1)
	}
	return next
}

// handOutOf hands out what is ready of the lanes with so many batches on their
// way. Behind another only a full one is: until then it may as well grow.
func (s *Subscriber) handOutOf(out int) (next time.Time) {
	var now time.Time
	for i := 0; i < len(s.active) && s.inFlight < s.opts.InFlight; {
		ln := s.active[i]
		full := ln.events >= s.opts.Size || ln.bytes >= s.opts.Bytes
		if ln.out != out || out > 0 && !full {
			i++
			continue
		}
		if !full && !s.draining {
			if now.IsZero() {
				now = s.now()
			}
			if due := ln.due(s.opts.Linger); now.Before(due) {
				if next.IsZero() || due.Before(next) {
					next = due
				}
				i++
				continue
			}
		}
		s.active = append(s.active[:i], s.active[i+1:]...)
		s.cut(ln)
		if ln.active = ln.events > 0; ln.active {
			s.active = append(s.active, ln) // behind the other lanes
		}
	}
	return next
}

// cut makes a batch of the lane's oldest events and hands it out.
func (s *Subscriber) cut(ln *lane) {
	l := s.unused()
	before, bytes := ln.events, ln.bytes
	l.fill(ln, s.opts.Size, s.opts.Bytes)
	s.waiting -= before - ln.events
	s.weight -= bytes - ln.bytes
	s.queued.Add(int64(ln.events - before))
	if ln.out == 0 {
		s.ready -= before - ln.events
		s.inFlight++
	}
	if ln.ordered() {
		s.follow(l)
	}
	s.books.Batch()
	s.out <- stage.Message(context.WithValue(s.drain, liveKey{}, l), l.Batch)
}

// follow puts a batch behind the one before it in its lane.
func (s *Subscriber) follow(l *Live) {
	ln := l.lane
	if ln.out == 0 {
		s.ready -= ln.events
	} else {
		l.before = ln.last.ended
	}
	if s.opts.Ahead {
		l.ended = make(chan struct{})
	}
	ln.out, ln.last = ln.out+1, l
}

func (s *Subscriber) unused() *Live {
	if n := len(s.free); n > 0 {
		l := s.free[n-1]
		s.free = s.free[:n-1]
		return l
	}
	l := newLive(s)
	s.mu.Lock()
	s.lives = append(s.lives, l)
	s.mu.Unlock()
	return l
}

func (s *Subscriber) takeBack(l *Live) {
	ln := l.lane
	if ln.ordered() {
		ln.out--
	}
	if ln.out == 0 { // or else the turn is the next one's
		s.inFlight--
	}
	if ln.ordered() && ln.out == 0 {
		ln.last = nil
		s.ready += ln.events
		if ln.events == 0 {
			delete(s.lanes, ln.name)
		}
	}
	if l.ended != nil {
		close(l.ended)
	}
	l.lane, l.before, l.ended = nil, nil, nil
	s.free = append(s.free, l)
}

// giveBack returns what waits in the lanes.
func (s *Subscriber) giveBack() {
	for _, ln := range s.active {
		ln.active = false
		for ; ln.parcels.len() > 0; ln.parcels.pop() {
			p := ln.parcels.first()
			n := p.waiting()
			s.books.Settled(event.Returned, n)
			s.queued.Add(-int64(n))
			p.giveBack()
		}
		ln.events, ln.bytes = 0, 0
	}
	s.active, s.waiting, s.ready, s.weight = s.active[:0], 0, 0, 0
}
