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
	"github.com/prometheus/client_golang/prometheus"

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
	drain context.Context // ends: the rest stays in the file
	cut   context.CancelFunc

	reader *spool.Reader
	closed <-chan struct{} // when the drain's router is

	mu    sync.Mutex
	store *spool.Store
	sub   *batching.Subscriber
}

// newSpooling makes the spool of a route; nil if it has none.
func newSpooling(drain context.Context, cfg *config.Route, dir string, log *slog.Logger) *spooling {
	if cfg.Spool == nil {
		return nil
	}
	s := &spooling{cfg: cfg, dir: dir, log: log, books: books.New()}
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

// front puts the store before the chain.
func (s *spooling) front(chain message.HandlerFunc) message.HandlerFunc {
	f := &spool.Front{Store: s.store, Always: s.cfg.Spool.When == config.SpoolAlways, Changes: hasTransforms(s.cfg)}
	switch s.cfg.Spool.Full {
	case config.FullReject:
		f.Full = event.Rejected
	case config.FullShed:
		f.Full = event.Shed
	}
	return f.Wrap(chain)
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
func (s *spooling) start(r *route, chain message.HandlerFunc) error {
	o := batchOptions(s.cfg)
	s.reader = spool.NewReader(s.store, float64(s.cfg.Spool.DrainRate), o.Size*(o.InFlight+1))
	sub := batching.New(s.drain, s.reader, o, s.books, s.log, r.park)
	var err error
	if s.closed, err = r.start(s.name(), sub, chain); err != nil {
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
	s.finish()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		return
	}
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
	st := RouteStatus{Name: s.name(), State: of.State, Reason: of.Reason, Latencies: s.books.Latencies(), Page: s.books.Page()}
	if s.sub != nil {
		st.Queued = s.sub.Queued()
	}
	if s.store != nil {
		st.Stages = []StageStatus{{Name: "spool", Kind: stage.KindSource, Stage: "spool", Values: spoolValues(s.store.Status())}}
	}
	return st
}

func spoolValues(st spool.Status) map[string]any {
	state := "empty"
	switch {
	case st.Full:
		state = "full"
	case st.Away && st.Batches > 0:
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

// spoolCollector shows the spools when it is scraped.
type spoolCollector struct{ engine *Engine }

func spoolDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_spool_"+name, help, []string{"pipeline", "route"}, nil)
}

var (
	descSpoolEvents = spoolDesc("events", "Events in the spool that are not settled.")
	descSpoolBytes  = spoolDesc("bytes", "Size of the batches in the spool.")
	descSpoolOldest = spoolDesc("oldest_seconds", "Time since the oldest batch in the spool was stored.")
	descSpoolFull   = spoolDesc("full", "1 while the spool has no room for the batch that came last.")
)

// Describe sends nothing: the routes' names are known when they are collected.
func (c spoolCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads what the spools hold.
func (c spoolCollector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.engine.routes {
		if r.spool == nil {
			continue
		}
		r.spool.mu.Lock()
		store := r.spool.store
		r.spool.mu.Unlock()
		if store == nil {
			continue
		}
		st, full := store.Status(), 0.0
		if st.Full {
			full = 1
		}
		for desc, v := range map[*prometheus.Desc]float64{
			descSpoolEvents: float64(st.Events), descSpoolBytes: float64(st.Bytes),
			descSpoolOldest: age(st.Oldest), descSpoolFull: full,
		} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, c.engine.pipeline.Name, r.cfg.Name)
		}
	}
}

// check compares the drain's books at the end of a run.
func (s *spooling) check() error {
	if err := s.books.Page().Check(); err != nil {
		return fmt.Errorf("route %s: %w", s.name(), err)
	}
	return nil
}
