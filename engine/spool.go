package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/books"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/spool"
	"millrace/engine/stage"
)

// spooling is the spool of a route at work: the store, and the drain, which
// brings what is stored to the route's chain. To the engine the drain is a
// source: it has a Subscriber, a router and books of its own.
type spooling struct {
	cfg   *config.Route
	dir   string // state directory
	log   *slog.Logger
	books *books.Books
	drain context.Context  // ends: the rest stays in the file
	leave func(error) bool // the route's
	cut   context.CancelFunc
	// drainLog names the drain, not the route: where both go wrong in the same way,
	// one of them would be taken for a repetition of the other.
	drainLog *slog.Logger

	behind wiring // opens the chain
	front  *spool.Front
	reader *spool.Reader
	handed message.HandlerFunc // the chain, once it is open
	opened chan struct{}       // closed when it is
	begun  chan struct{}       // closed when it is, or never will be
	closed <-chan struct{}     // when the drain's router is
	watch  sync.WaitGroup

	mu       sync.Mutex
	store    *spool.Store
	sub      *batching.Subscriber
	state    State // Opening, Running or Parked
	reason   error
	neverRan error // it was stopped while it waited for this to open
}

// newSpooling makes the spool of a route; nil if it has none.
func newSpooling(drain context.Context, w wiring, log *slog.Logger) *spooling {
	if w.route.Spool == nil {
		return nil
	}
	s := &spooling{
		cfg: w.route, dir: w.around.state.Path, log: log.With("route", w.route.Name), books: books.New(), behind: w, state: Opening,
		opened: make(chan struct{}), begun: make(chan struct{}),
	}
	s.drainLog = log.With("route", s.name())
	s.drain, s.cut = context.WithCancel(drain)
	return s
}

// name is what the drain is called where a route's name is shown.
func (s *spooling) name() string { return s.cfg.Name + ".spool" }

// open opens the store, again and again while that fails for weather.
func (s *spooling) open(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		store, err := spool.Open(ctx, spool.File(s.dir, s.cfg.Name), int64(s.cfg.Spool.Max), s.log)
		if err == nil {
			s.mu.Lock()
			s.store = store
			s.mu.Unlock()
			if st := store.Status(); st.Events > 0 {
				s.log.Info("the spool holds events of an earlier run, which are delivered now", "events", st.Events)
			}
			return nil
		}
		if ctx.Err() != nil || stage.ClassOf(err) == stage.Unfixable {
			return err
		}
		s.log.Warn("cannot open the spool, will try again", "error", err)
		if stage.SystemClock.Sleep(ctx, batching.Pause(attempt)) != nil {
			return err
		}
	}
}

// begin starts opening what is behind the spool, and returns the handler for
// what comes to it.
func (s *spooling) begin(r *route) message.HandlerFunc {
	s.leave = r.leave
	s.front = &spool.Front{
		Store: s.store, Always: s.cfg.Spool.When == config.SpoolAlways, Changes: hasTransforms(s.cfg),
		Park: s.park, End: s.store.Detach, Probe: s.probe,
	}
	switch s.cfg.Spool.Full {
	case config.FullReject:
		s.front.Full = event.Rejected
	case config.FullShed:
		s.front.Full = event.Shed
	}
	go s.openBehind(r)
	return s.front.Wrap(s.chain)
}

// chain is what is behind the spool. Who comes before it is open waits.
func (s *spooling) chain(msg *message.Message) ([]*message.Message, error) {
	select {
	case <-s.opened:
		return s.handed(msg)
	case <-msg.Context().Done():
		return nil, msg.Context().Err()
	}
}

// openBehind opens the chain and starts the drain, however long that takes.
func (s *spooling) openBehind(r *route) {
	defer close(s.begun)
	said := false
	err := r.persist(&s.behind, func(err error) {
		s.setReason(err)
		level := slog.LevelDebug
		if !said {
			level, said = slog.LevelWarn, true
		}
		s.log.Log(s.drain, level, "what is behind the spool cannot be opened; events go to the spool until it can", "error", err)
	}, func() (err error) {
		s.handed, err = s.behind.chain(r.opening)
		return err
	})
	switch {
	case err == nil:
		if said {
			s.log.Info("opened what is behind the spool, which is drained now", "events", s.store.Status().Events)
		}
		s.work(r)
	case r.opening.Err() == nil:
		s.park(err)
	case stage.ClassOf(err) == stage.Retryable:
		s.mu.Lock()
		s.neverRan = err
		s.mu.Unlock()
	}
}

// work lets events go to the chain, those of the front and those of the drain.
func (s *spooling) work(r *route) {
	r.show(&s.behind)
	close(s.opened)
	s.mu.Lock()
	s.state, s.reason = Running, nil
	s.mu.Unlock()
	s.store.Attach()
	if !s.front.Always {
		s.watch.Go(func() { s.front.Watch(s.drain) })
	}
	if err := s.start(r); err != nil {
		r.park(err)
	}
}

// probe asks the sinks whether they are there.
func (s *spooling) probe(ctx context.Context) error {
	for _, o := range s.behind.open {
		if p, ok := o.instance.(stage.Prober); ok && o.kind == stage.KindSink {
			if err := p.Probe(ctx); err != nil {
				return &openError{o.name, err}
			}
		}
	}
	return nil
}

// park takes what is behind the spool out of service until a person has mended
// what is wrong. The spool goes on to fill.
func (s *spooling) park(err error) {
	if s.leave(err) {
		return
	}
	s.mu.Lock()
	first := s.state != Parked
	s.state, s.reason = Parked, err
	s.mu.Unlock()
	if first {
		s.log.Error("what is behind the spool is parked: it needs attention; events stay in the spool until the next start", "error", err)
	}
	s.store.Detach()
	s.cut()
}

// end leaves what is stored for the next start: a route behind the spool takes no
// more in this run.
func (s *spooling) end() {
	s.store.Detach()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub != nil {
		s.sub.Stop()
	}
}

func (s *spooling) parked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Parked
}

// setReason says why what is behind the spool is not open yet.
func (s *spooling) setReason(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err
}

func hasTransforms(r *config.Route) bool {
	for step := range r.Steps() {
		if step.Stage.Kind == stage.KindTransform {
			return true
		}
	}
	return false
}

// start runs the drain.
func (s *spooling) start(r *route) error {
	o := batchOptions(s.cfg)
	o.Ahead = ahead(s.cfg) > 0
	s.reader = spool.NewReader(s.store, float64(s.cfg.Spool.DrainRate), o.Size*(o.InFlight+1))
	// A file that cannot be read parks the whole route: nothing may be added to it.
	sub := batching.New(s.drain, s.reader, o, s.books, s.log, r.park)
	var err error
	if s.closed, err = r.start(s.name(), s.drainLog, sub, s.handed, s.park, s.end); err != nil {
		return err
	}
	s.mu.Lock()
	s.sub = sub
	s.mu.Unlock()
	return nil
}

// finish waits until the spool is empty, or was told to leave the rest for the
// next start. Nothing is stored any more.
func (s *spooling) finish() {
	<-s.begun
	if s.sub == nil {
		return
	}
	_ = s.reader.Finish(s.drain) // has no way to fail
	<-s.sub.Drained()
	<-s.closed
}

// close closes the store, and says what is left in it.
func (s *spooling) close() {
	s.cut()
	s.mu.Lock()
	opened := s.store != nil
	s.mu.Unlock()
	if !opened {
		return
	}
	s.finish()
	s.watch.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.store.Status(); left.Events > 0 {
		s.log.Warn("events remain in the spool; the next start goes on with them",
			"events", left.Events, "file", s.store.File())
	}
	if err := s.store.Close(); err != nil {
		s.log.Error("spool not closed cleanly", "error", err)
	}
}

// status is the drain, as if it were a route.
func (s *spooling) status(of RouteStatus) RouteStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := RouteStatus{Name: s.name(), Latencies: s.books.Latencies(), Page: s.books.Page()}
	st.State, st.Reason = s.stateIn(of)
	if s.sub != nil {
		st.Queued = s.sub.Queued()
	}
	if s.store != nil {
		st.Stages = []StageStatus{{Name: "spool", Kind: stage.KindSource, Stage: "spool", Values: spoolValues(s.store.Status(), s.state == Running)}}
	}
	return st
}

// stateIn is the drain's state while its route is in a state. Called with mu held.
func (s *spooling) stateIn(of RouteStatus) (State, error) {
	switch {
	case s.state == Parked:
		return Parked, s.reason
	case of.State == Parked || of.State == Finished || of.State == Stopped:
		return of.State, of.Reason
	case s.state == Opening:
		return Opening, s.reason
	case of.State == Opening:
		return Running, nil // it empties the spool before the route's source is there
	default:
		return of.State, nil
	}
}

func spoolValues(st spool.Status, chain bool) map[string]any {
	state := "empty"
	switch {
	case st.Full:
		state = "full"
	case (st.Away || !chain) && st.Batches > 0:
		state = "filling"
	case st.Batches > 0:
		state = "draining"
	}
	return map[string]any{
		"state": state, "lag": st.Events, "batches": st.Batches, "bytes": st.Bytes,
		"oldest_seconds": age(st.Oldest), "full": st.Full,
	}
}

func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return time.Since(t).Seconds()
}

// cutSpools ends the drains of those spools whose routes others wait for, so
// that these have time left to come to their own end.
func (e *Engine) cutSpools() {
	for _, r := range e.routes {
		waitedFor := slices.ContainsFunc(e.routes, func(other *route) bool { return slices.Contains(other.upstream, r) })
		if r.spool != nil && waitedFor {
			r.spool.cut()
		}
	}
}

// warnOfSpools tells of spools with events in them that no route drains.
func (e *Engine) warnOfSpools(ctx context.Context) {
	files, err := spool.Files(e.around.state.Path)
	if err != nil {
		e.log.Error("cannot look for spools", "error", err)
	}
	for _, file := range files {
		if r := e.pipeline.Route(spool.RouteOf(file)); r != nil && r.Spool != nil {
			continue
		}
		if found, err := spool.Inspect(ctx, file); err != nil || found.Events > 0 {
			e.log.Warn("a spool is left that no route of this pipeline drains; give its route `spool:` again, or move the file away",
				"file", file, "events", found.Events, "error", errors.Join(err))
		}
	}
}

// verdict is what went wrong behind the spool in a run that has ended.
func (s *spooling) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.state == Parked {
		errs = append(errs, &ParkedError{s.name(), s.reason})
	} else if s.neverRan != nil {
		errs = append(errs, &NotStartedError{s.name(), s.neverRan})
	}
	if err := s.books.Page().Check(); err != nil {
		errs = append(errs, fmt.Errorf("route %s: %w", s.name(), err))
	}
	return errors.Join(errs...)
}
