package kafka

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// reader is the opened source: a member of the group.
type reader struct {
	cfg     *Config
	log     *slog.Logger
	clock   stage.Clock
	cluster *kafka.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	decode  decoder
	nag     nag

	opened  chan struct{} // closed when the client is there for its own callbacks
	stop    context.CancelFunc
	working sync.WaitGroup // pump, tend

	committing sync.Mutex // held from choosing offsets until the group has them

	mu        sync.Mutex
	parts     map[int32]*partition // assigned
	order     []*partition         // the same, for taking turns
	turn      int
	joined    bool            // the group has told this member what it has
	finishing bool            // Finish was called
	targets   map[int32]int64 // where Finish ends, of partitions that are not empty
	failure   error           // for the next Read
	lost      int64
	free      []*parcel

	wake chan struct{} // Read may find something
	room chan struct{} // the pump may find room
}

func newReader(c *Config, s stage.Settings, cluster *kafka.Cluster) *reader {
	r := &reader{
		cfg: c, log: s.Log.With("topic", c.Topic, "group", c.Group), clock: s.Clock, cluster: cluster,
		parts: make(map[int32]*partition), opened: make(chan struct{}),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	r.nag = nag{log: r.log, clock: s.Clock}
	r.decode = decoder{
		topic: c.Topic, raw: c.Value == "raw", headers: newHeaders(c.Headers), registry: cluster.Registry(),
		schemas: make(map[int]*schema), clock: s.Clock, nag: &r.nag,
	}
	return r
}

// connect makes the client, which joins the group in the background.
func (r *reader) connect() (err error) {
	r.client, err = r.cluster.NewClient(r.options()...)
	if err != nil {
		return fmt.Errorf("topic %q, group %q: %w", r.cfg.Topic, r.cfg.Group, err)
	}
	r.admin = kadm.NewClient(r.client)
	r.start()
	return nil
}

func (r *reader) start() {
	close(r.opened)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.working.Go(func() { r.pump(ctx) })
	r.working.Go(func() { r.tend(ctx) })
}

// Read hands out the next stretch of a partition; partitions take turns.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	for {
		p, ok, err := r.attempt(ctx)
		if ok || err != nil {
			return p, err
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return event.Parcel{}, ctx.Err()
		}
	}
}

// attempt hands out what there is now; ok is false when there is nothing.
func (r *reader) attempt(ctx context.Context) (p event.Parcel, ok bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return event.Parcel{}, false, err
		}
		pc, err := r.take()
		if err != nil || pc == nil {
			return event.Parcel{}, false, err
		}
		if err := r.decode.parcel(ctx, pc); err != nil {
			r.putBack(pc)
			return event.Parcel{}, false, err
		}
		if r.keep(pc) {
			return event.Parcel{
				Lane: pc.part.lanes[pc.lane], Events: pc.events, Bytes: pc.bytes, Refused: pc.refused, Done: pc.done,
				Origin: event.Origin{Kind: "kafka", Name: r.cfg.Topic, Partition: pc.part.number},
			}, true, nil
		}
	}
}

// take picks the next parcel, not decoded yet; nil when there is nothing.
func (r *reader) take() (*parcel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failure; err != nil {
		r.failure = nil
		return nil, err
	}
	if r.finished() {
		return nil, io.EOF
	}
	limit := bound(len(r.order))
	for range r.order {
		p := r.order[r.turn%len(r.order)]
		r.turn++
		if p.ready(limit) {
			return r.cut(p, limit), nil
		}
	}
	return nil, nil
}

func (r *reader) cut(p *partition, limit int) *parcel {
	pc := r.unused()
	pc.part = p
	p.next(pc)
	p.handOut(pc)
	if p.paused && p.queuedBytes <= limit/4 {
		p.paused = false
		r.client.ResumeFetchPartitions(r.only(p))
	}
	if p.queued == 0 {
		signal(r.room)
	}
	return pc
}

// unused is a parcel to fill.
func (r *reader) unused() *parcel {
	if n := len(r.free); n > 0 {
		pc := r.free[n-1]
		r.free = r.free[:n-1]
		return pc
	}
	pc := &parcel{}
	pc.done = func(receipt event.Receipt) { r.done(pc, receipt) }
	return pc
}

// keep reports whether a decoded parcel is to be handed out: not when its
// partition has moved meanwhile, nor when it held nothing but markers of
// transactions.
func (r *reader) keep(pc *parcel) bool {
	r.mu.Lock()
	lost := pc.part.gone || pc.part.leaving
	r.mu.Unlock()
	switch {
	case lost:
		r.done(pc, event.Receipt{Counts: [event.NumOutcomes]int{event.Returned: len(pc.events)}})
		return false
	case len(pc.events) == 0:
		r.done(pc, event.Receipt{})
		return false
	}
	return true
}

// putBack is for a parcel that could not be decoded now.
func (r *reader) putBack(pc *parcel) {
	r.done(pc, event.Receipt{Counts: [event.NumOutcomes]int{event.Returned: len(pc.records)}})
}

// done is what a parcel's Done calls.
func (r *reader) done(pc *parcel, receipt event.Receipt) {
	pc.clean()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := pc.part
	p.takeBack(pc)
	switch {
	case p.gone:
	case receipt.Settled():
		p.settle(pc)
	case !p.leaving:
		p.redeliver(&parcel{number: pc.number, lane: pc.lane, records: pc.records, bytes: pc.bytes})
	}
	pc.part, pc.records = nil, nil
	if len(r.free) < keepParcels {
		r.free = append(r.free, pc)
	}
	signal(r.wake)
}

// keepParcels is how many unused parcels are kept: what one busy partition has
// out.
const keepParcels = 2 * outEvents / parcelEvents

// Close commits what is settled and leaves the group.
func (r *reader) Close(ctx context.Context) error {
	r.stop()
	r.working.Wait()
	r.client.AllowRebalance()
	err := r.commit(ctx)
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	_ = r.client.LeaveGroupContext(ctx) // the group notices by itself when it was not told
	r.client.Close()
	if err != nil {
		return fmt.Errorf("topic %q, group %q: last commit: %w", r.cfg.Topic, r.cfg.Group, err)
	}
	return nil
}

// Probe makes a round trip to the brokers.
func (r *reader) Probe(ctx context.Context) error { return r.cluster.Probe(ctx) }

// Status shows lag and lost events, and how many partitions this member has.
func (r *reader) Status() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lag int64
	for _, p := range r.order {
		lag += p.lag()
	}
	return map[string]any{"lag": lag, "lost": r.lost, "partitions": len(r.order)}
}

// assign makes a partition one of ours, in place of an older life of it.
func (r *reader) assign(p *partition) {
	if old := r.parts[p.number]; old != nil {
		r.forget(old)
	}
	p.target = unknown
	if end, ok := r.targets[p.number]; ok {
		p.target = end
	}
	r.parts[p.number] = p
	r.order = append(r.order, p)
}

// forget makes a partition no longer ours.
func (r *reader) forget(p *partition) {
	p.gone = true
	p.queue, p.again, p.queued, p.queuedBytes = nil, nil, 0, 0
	if r.parts[p.number] == p {
		delete(r.parts, p.number)
	}
	r.order = slices.DeleteFunc(r.order, func(o *partition) bool { return o == p })
	if p.paused {
		p.paused = false
		r.client.ResumeFetchPartitions(r.only(p))
	}
}

func (r *reader) only(p *partition) map[string][]int32 {
	return map[string][]int32{r.cfg.Topic: {p.number}}
}

// fail makes the next Read return an error.
func (r *reader) fail(err error) {
	r.mu.Lock()
	r.failure = stage.Worse(r.failure, err)
	r.mu.Unlock()
	signal(r.wake)
}

// signal tells one waiting goroutine to look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// nag logs what goes on for a while, each thing now and then. For use from
// several goroutines.
type nag struct {
	log   *slog.Logger
	clock stage.Clock
	mu    sync.Mutex
	last  map[string]time.Time
}

const nagEvery = 30 * time.Second

func (n *nag) warn(msg string, args ...any) {
	now := n.clock.Now()
	n.mu.Lock()
	last, seen := n.last[msg]
	quiet := seen && now.Sub(last) < nagEvery
	if !quiet {
		if n.last == nil {
			n.last = make(map[string]time.Time)
		}
		n.last[msg] = now
	}
	n.mu.Unlock()
	if !quiet {
		n.log.Warn(msg, args...)
	}
}
