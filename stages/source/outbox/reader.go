package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/pubsub"
	"millrace/stages/resource/sql"
)

const (
	parcelRows  = 500 // a batch of the usual size
	outParcels  = 4   // handed out and not settled
	storeWithin = 5 * time.Second
	stopWithin  = 2 * time.Second // for a query that is under way at a stop
)

// reader is the opened source.
type reader struct {
	cfg   *Config
	db    *sql.Database
	log   *slog.Logger
	clock stage.Clock
	codec pubsub.Codec

	storing sync.WaitGroup
	life    context.Context
	end     context.CancelFunc

	using   sync.Mutex // the session is used
	session *session   // nil: there is none

	mu       sync.Mutex
	age      int // of the session: what an earlier one handed out is forgotten
	out      []*parcel
	settled  position // everything up to it is settled
	unstored bool     // and not stored yet
	failed   bool     // storing failed, or something was given back: the session is no good
	waiting  bool     // for another process to end; said once

	moved chan struct{} // settled has
	room  chan struct{} // there may be room for another parcel
}

// parcel is a run of rows that was handed out.
type parcel struct {
	end     position
	settled bool
}

func newReader(c *Config, s stage.Settings, db *sql.Database) *reader {
	r := &reader{
		cfg: c, db: db, log: s.Log, clock: s.Clock, codec: pubsub.Codec(c.Codec),
		moved: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	r.life, r.end = context.WithCancel(context.Background())
	r.storing.Go(r.keepStoring)
	return r
}

// Read hands out the next rows, in order.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	for {
		if err := ctx.Err(); err != nil {
			return event.Parcel{}, err
		}
		if r.full() {
			select {
			case <-r.room:
			case <-ctx.Done():
			}
			continue
		}
		rows, err := r.look(ctx)
		switch {
		case errors.Is(err, errTaken):
			r.sayWaiting()
		case err != nil && ctx.Err() != nil:
			return event.Parcel{}, ctx.Err()
		case err != nil:
			return event.Parcel{}, err
		case len(rows) > 0:
			if p, ok := r.parcel(rows); ok {
				return p, nil
			}
			continue
		}
		if err := r.clock.Sleep(ctx, r.cfg.PollInterval.Std()); err != nil {
			return event.Parcel{}, err
		}
	}
}

func (r *reader) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.out) >= outParcels
}

// look reads rows. It goes on for a moment when the context ends: a query that
// is broken off takes its connection with it, and with that the position.
func (r *reader) look(ctx context.Context) ([]row, error) {
	asking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		late := time.NewTimer(stopWithin)
		defer late.Stop()
		select {
		case <-late.C:
			cancel()
		case <-asking.Done():
		}
	})()
	return r.next(asking)
}

// next reads rows, in a new session where there is none.
func (r *reader) next(ctx context.Context) ([]row, error) {
	r.using.Lock()
	defer r.using.Unlock()
	r.mu.Lock()
	failed := r.failed
	r.failed = false
	r.mu.Unlock()
	if failed {
		r.drop()
	}
	if r.session == nil {
		s, err := connect(ctx, r.db.Postgres, r.cfg)
		if err != nil {
			return nil, err
		}
		r.begin(s)
	}
	rows, err := r.session.nextRows(ctx, parcelRows)
	if err != nil {
		r.drop()
	}
	return rows, err
}

// begin starts anew from the position that is stored.
func (r *reader) begin(s *session) {
	r.session = s
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age++
	r.out, r.settled, r.unstored, r.waiting = nil, s.read, false, false
}

// drop lets go of a session that is no good.
func (r *reader) drop() {
	if r.session != nil {
		r.session.close()
		r.session = nil
	}
}

// sayWaiting tells once that another process reads.
func (r *reader) sayWaiting() {
	r.mu.Lock()
	said := r.waiting
	r.waiting = true
	r.mu.Unlock()
	if !said {
		r.log.Info("another process reads this outbox; waiting to take over", "topic", r.cfg.Topic, "group", r.cfg.Group)
	}
}

// parcel makes events of rows and notes that they are out; not when the session
// that read them is over by now, since what is before them comes again, and so do
// they. Called by Read, like next, which begins another session.
func (r *reader) parcel(rows []row) (_ event.Parcel, ok bool) {
	p := event.Parcel{
		Lane: r.cfg.Topic, Events: make([]event.Event, len(rows)), Origin: event.Origin{Kind: "outbox", Name: r.cfg.Topic},
	}
	for i := range rows {
		if err := r.event(&rows[i], &p.Events[i]); err != nil {
			err = fmt.Errorf("outbox %s, offset %d: %w", r.cfg.Topic, rows[i].at.offset, err)
			p.Refused = append(p.Refused, event.Refusal{Index: i, Err: stage.Bad(err)})
		}
	}
	out := &parcel{end: rows[len(rows)-1].at}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed {
		return event.Parcel{}, false
	}
	r.out = append(r.out, out)
	age := r.age
	p.Done = func(receipt event.Receipt) { r.done(out, age, receipt) }
	return p, true
}

// event makes an event of a row; the error says why it is none.
func (r *reader) event(from *row, e *event.Event) error {
	err := r.codec.Decode(from.msg, e)
	if err == nil {
		err = from.err
	}
	e.Offset = from.at.offset
	if e.Time.IsZero() {
		e.Time = from.created
	}
	if e.ID == uuid.Nil { // the same at each reading
		e.ID = uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "outbox %s %s %d", r.cfg.Topic, from.at.transaction, from.at.offset))
	}
	return err
}

// done moves the settled position over the parcels at the front that are
// settled. One that comes back makes the session begin anew, at the position.
func (r *reader) done(p *parcel, age int, receipt event.Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age != r.age {
		return
	}
	if !receipt.Settled() {
		r.age++ // what else is out of this session counts no more
		r.out, r.failed = nil, true
		signal(r.room)
		return
	}
	p.settled = true
	for len(r.out) > 0 && r.out[0].settled {
		r.settled, r.unstored = r.out[0].end, true
		r.out[0] = nil
		r.out = r.out[1:]
	}
	signal(r.moved)
	signal(r.room)
}

// keepStoring stores the settled position whenever it has moved: several moves
// become one when the database is slower.
func (r *reader) keepStoring() {
	for {
		select {
		case <-r.moved:
		case <-r.life.Done():
			return
		}
		// Not of r.life: a statement that is broken off takes the connection with it.
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		err := r.store(ctx)
		cancel()
		if err != nil {
			r.log.Warn("the position in the outbox could not be stored; events since the last will be read again",
				"topic", r.cfg.Topic, "error", err)
		}
	}
}

// store stores the settled position, in the session that it is of.
func (r *reader) store(ctx context.Context) error {
	r.using.Lock()
	defer r.using.Unlock()
	r.mu.Lock()
	at, unstored := r.settled, r.unstored && r.session != nil
	r.unstored = false
	r.mu.Unlock()
	if !unstored {
		return nil
	}
	err := r.session.store(ctx, at)
	if err != nil {
		r.mu.Lock()
		r.failed, r.unstored = true, true
		r.mu.Unlock()
	}
	return err
}

// Probe makes a round trip to the database.
func (r *reader) Probe(ctx context.Context) error { return r.db.Probe(ctx) }

// Close stores the last position and gives up the right to read.
func (r *reader) Close(ctx context.Context) error {
	r.end()
	r.storing.Wait()
	err := r.store(ctx)
	r.using.Lock()
	defer r.using.Unlock()
	r.drop()
	if err != nil {
		return fmt.Errorf("storing the last position: %w", err)
	}
	return nil
}

// signal tells one waiting goroutine to look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
