package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/books"
	"millrace/engine/chain"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// State is where a route is in its life.
type State string

// The states of a route.
const (
	Opening  State = "opening"  // its stages are being opened; dependencies may be away
	Running  State = "running"  // it reads and delivers
	Paused   State = "paused"   // it would run, but reads nothing: somebody wants it so
	Draining State = "draining" // it reads no more, or only up to the end; the rest is being settled
	Parked   State = "parked"   // it needs a person; Reason says why
	Finished State = "finished" // its source came to an end
	Stopped  State = "stopped"  // it was told to stop
)

var states = []State{Opening, Running, Paused, Draining, Parked, Finished, Stopped}

// route is one route of a running pipeline, from opening to closing.
type route struct {
	cfg    *config.Route
	log    *slog.Logger
	books  *books.Books
	wiring wiring
	spool  *spooling // nil: none
	valve  valve

	enough   chan<- struct{} // told when nobody wants more of what it brings
	upstream []*route        // those whose end it waits for before it ends

	opening  context.Context // ends when it need not be opened any more
	giveUp   context.CancelFunc
	drain    context.Context // ends when what is left has to be given back
	cutOff   context.CancelFunc
	ready    chan struct{} // closed when it runs
	done     chan struct{} // closed when everything of it is closed
	finishMu sync.Mutex

	mu       sync.Mutex
	state    State
	reason   error
	sub      *batching.Subscriber
	reader   stage.Reader
	instance []opened
	stays    []*stay
	wasCut   bool  // time ran out before everything was settled
	waiting  int64 // at the source then
	left     bool  // nobody wants more of what it brings
	neverRan error // it was stopped while it waited for this to open
}

func newRoute(ctx context.Context, cfg *config.Route, w wiring, log *slog.Logger) *route {
	r := &route{
		cfg: cfg, log: log.With("route", cfg.Name), books: books.New(), wiring: w,
		ready: make(chan struct{}), done: make(chan struct{}), state: Opening,
	}
	r.drain, r.cutOff = context.WithCancel(ctx)
	r.opening, r.giveUp = context.WithCancel(r.drain)
	r.spool = newSpooling(r.drain, w, log)
	return r
}

// run is the route's goroutine: it opens, runs until the source ends or
// somebody stops it, and closes.
func (r *route) run() {
	defer close(r.done)
	source, handler, err := r.open()
	if err != nil {
		if r.opening.Err() == nil {
			r.park(err)
		} else if stage.ClassOf(err) == stage.Retryable {
			r.neverRan = err
		}
		r.close()
		r.enter(Stopped)
		return
	}
	r.valve.source = source
	o := batchOptions(r.cfg)
	o.Ahead = r.spool == nil && ahead(r.cfg) > 0 // what is spooled is transformed when it comes out
	sub := batching.New(r.drain, &r.valve, o, r.books, r.log, r.park)
	closed, err := r.start(r.cfg.Name, r.log, sub, handler, r.park, r.stop)
	if err != nil {
		r.park(err)
		r.close()
		return
	}
	r.mu.Lock()
	r.sub, r.reader = sub, source
	r.mu.Unlock()
	r.enter(Running)
	close(r.ready)
	if r.opening.Err() != nil {
		sub.Stop() // it was told to while it started
	}

	<-sub.Drained()
	<-closed
	r.valve.open() // the source has ended
	r.endFeed()
	told := r.opening.Err() != nil
	r.mu.Lock()
	r.wasCut = r.drain.Err() != nil
	r.noteLost()
	r.mu.Unlock()
	if s := r.status(); r.wasCut {
		r.waiting, _ = s.Lag()
	}
	if r.spool != nil {
		r.enter(Draining)
		r.spool.finish()
	}
	r.close()
	if told {
		r.enter(Stopped)
	}
	r.enter(Finished)
}

// open opens the route's stages. Before a spool it is the source alone: the
// spool takes what comes, and what is behind it is opened beside.
func (r *route) open() (source stage.Reader, handler message.HandlerFunc, err error) {
	tell := func(err error) {
		r.setReason(err)
		r.log.Warn("cannot open, will try again", "error", err)
	}
	if r.spool != nil {
		if err := r.spool.open(r.opening); err != nil {
			return nil, nil, err
		}
		handler = r.spool.begin(r)
	}
	err = r.persist(&r.wiring, tell, func() (err error) {
		if r.spool == nil {
			if handler, err = r.wiring.chain(r.opening); err != nil {
				return err
			}
		}
		source, err = r.wiring.source(r.opening)
		return err
	})
	if err == nil {
		r.show(&r.wiring)
	}
	return source, handler, err
}

// show lets the stages be probed, and asked for their status.
func (r *route) show(w *wiring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instance = append(r.instance, w.open...)
	r.stays = append(r.stays, w.stays...)
}

// start makes a router that hands what sub brings to the chain, and runs it.
// log names what is run. park is told why the chain cannot go on, end that what it
// leads to takes no more. The returned channel is closed when the router is.
func (r *route) start(name string, log *slog.Logger, sub *batching.Subscriber, chained message.HandlerFunc, park func(error), end func()) (<-chan struct{}, error) {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, routerLog{log})
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	runner := &chain.Runner{Log: log, Park: park, End: end}
	if r.cfg.Source != nil {
		runner.Source = r.cfg.Source.Name
	}
	handler := router.AddConsumerHandler(name, name, sub, func(msg *message.Message) error {
		_, err := chained(msg)
		return err
	})
	handler.AddMiddleware(runner.Middleware)

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		// The messages' context is the drain context, so this one never ends:
		// the router ends when the subscriber is closed.
		if err := router.Run(context.WithoutCancel(r.drain)); err != nil {
			r.park(fmt.Errorf("router: %w", err))
		}
	}()
	<-router.Running()
	go func() {
		<-sub.Drained()
		if err := sub.Close(); err != nil { // ends the handler, and with it the router
			log.Error("closing the subscriber", "error", err)
		}
	}()
	return closed, nil
}

func batchOptions(cfg *config.Route) batching.Options {
	return batching.Options{
		Size: cfg.Batch.Size, Linger: cfg.Batch.Linger, InFlight: cfg.Batch.InFlight,
		Bytes: int64(cfg.Batch.Bytes), MaxEvent: int64(cfg.Batch.MaxEvent),
	}
}

// closeTimeout bounds what stages may take to close, and a router to end that
// has nothing to do any more.
const closeTimeout = 10 * time.Second

func (r *route) close() {
	r.cutOff()
	if r.spool != nil {
		r.spool.close()
	}
	r.finishMu.Lock() // a Finish that is still looking for the end gives up first
	defer r.finishMu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.drain), closeTimeout)
	defer cancel()
	r.endFeed()
	r.mu.Lock()
	r.instance, r.reader = nil, nil // nobody asks a stage for its status any more
	r.mu.Unlock()
	all := r.wiring.open
	if r.spool != nil {
		all = append(r.spool.behind.open, all...) // the source is closed first
	}
	if err := closeAll(ctx, all); err != nil {
		r.log.Error("not closed cleanly", "error", err)
	}
}

// endFeed lets those that feed the route wait no longer.
func (r *route) endFeed() {
	if r.cfg.Source == nil {
		r.wiring.feeds[r.cfg.Name].end(chain.ErrEnded)
	}
}

// stop ends reading at once; what was read is still settled.
func (r *route) stop() {
	r.giveUp()
	if sub := r.started(); sub != nil {
		r.enter(Draining)
		sub.Stop()
	}
}

// finish ends reading when everything is read that was written by now.
func (r *route) finish() {
	sub := r.started()
	if sub == nil {
		r.stop()
		return
	}
	r.finishMu.Lock()
	defer r.finishMu.Unlock()
	r.enter(Draining)
	r.mu.Lock()
	f, ok := r.reader.(stage.Finisher)
	r.mu.Unlock()
	if !ok {
		r.stop()
		return
	}
	for attempt := 0; ; attempt++ {
		err := f.Finish(r.drain)
		if err == nil || r.drain.Err() != nil {
			return
		}
		level := slog.LevelDebug // a topic that was just made needs a moment
		if attempt >= 5 {
			level = slog.LevelWarn
		}
		r.log.Log(r.drain, level, "cannot find the end of the source, will try again", "error", err)
		if stage.SystemClock.Sleep(r.drain, batching.Pause(attempt)) != nil {
			return
		}
	}
}

func (r *route) started() *batching.Subscriber {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sub
}

// leave ends the route when err says that the reader of a pipe has gone, such as
// `head -1`: nothing is wrong then, nobody wants more. It is the end of the run.
func (r *route) leave(err error) bool {
	if !errors.Is(err, syscall.EPIPE) {
		return false
	}
	r.mu.Lock()
	first := !r.left
	r.left = true
	r.mu.Unlock()
	if first {
		r.log.Info("stopping: nobody reads the output any more")
	}
	select {
	case r.enough <- struct{}{}:
	default: // somebody has told already
	}
	r.cutOff()
	return true
}

func (r *route) unwanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// park takes the route out of service until a person has mended what is wrong.
// What is in flight is given back.
func (r *route) park(err error) {
	if r.leave(err) {
		return
	}
	r.mu.Lock()
	first := r.state != Parked
	r.state, r.reason = Parked, err
	r.mu.Unlock()
	if f := r.wiring.feeds[r.cfg.Name]; f != nil && r.cfg.Source == nil {
		// Nothing will ever get through: those that feed it need a person too.
		f.end(stage.Fatal(fmt.Errorf("route %s, which it feeds, is parked: %w", r.cfg.Name, err)))
	}
	if first {
		r.log.Error("route parked: it needs attention and reads no more", "error", err)
	}
	r.cutOff()
}

// enter moves on to another state. A parked, finished or stopped route stays so.
func (r *route) enter(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Parked || r.state == Finished || r.state == Stopped {
		return
	}
	r.state, r.reason = s, nil
}

// setReason says why an opening route is not running yet.
func (r *route) setReason(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Opening {
		r.reason = err
	}
}

// noteLost asks the source how many events it found missing. Called with mu
// held, before the source is closed.
func (r *route) noteLost() {
	if s, ok := r.reader.(stage.Statuser); ok {
		if lost, ok := s.Status()["lost"].(int64); ok {
			r.books.SetLost(lost)
		}
	}
}

// routerLog lets Watermill's log lines through for debugging only: what it
// calls errors, such as a source that came to its end, is normal here, and
// what goes wrong in a route the route says itself.
type routerLog struct{ log *slog.Logger }
