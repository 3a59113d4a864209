package cli

import (
	"log/slog"
	"math"
	"time"

	"millrace/engine"
	"millrace/engine/books"
	"millrace/engine/event"
)

// How often the live lines change, and how often a run that nobody watches
// says how it is doing.
const (
	liveEvery = time.Second
	logEvery  = time.Minute
)

// watcher shows what a run is doing: one live line per route on a terminal,
// a log line per route now and then elsewhere.
type watcher struct {
	engine *engine.Engine
	screen *screen
	live   bool
	log    *slog.Logger
	before map[string]glance
	stop   chan struct{}
	ended  chan struct{}
}

// glance is what a route's rates are counted from.
type glance struct {
	at      time.Time
	page    books.Page
	latency books.Latencies
}

// watch starts watching; end ends it. live asks for live lines.
func watch(e *engine.Engine, s *screen, live bool, log *slog.Logger) *watcher {
	w := &watcher{
		engine: e, screen: s, live: live, log: log, before: make(map[string]glance),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.ended)
	every := logEvery
	if w.live {
		every = liveEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	w.look() // the first rates count from here
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		rows := w.look()
		if w.live {
			w.screen.show(rows)
			continue
		}
		for _, r := range rows {
			w.log.With("route", r.route).Info("progress", r.attributes()...)
		}
	}
}

// end takes the live lines away.
func (w *watcher) end() {
	close(w.stop)
	<-w.ended
	if w.live {
		w.screen.show(nil)
	}
}

// look reads every route and compares it with the last look.
func (w *watcher) look() []liveRow {
	var rows []liveRow
	now := time.Now()
	for _, s := range w.engine.Status() {
		g := glance{now, s.Page, s.Latencies}
		last, ok := w.before[s.Name]
		if !ok {
			last = g
		}
		w.before[s.Name] = g
		rows = append(rows, describe(&s, last, g))
	}
	return rows
}

// describe is a route's live line, cell by cell, from two glances at it.
func describe(s *engine.RouteStatus, last, now glance) liveRow {
	row := liveRow{route: s.Name, state: string(s.State)}
	if s.Reason != nil {
		row.reason = s.Reason.Error()
		return row
	}
	if offered, ok := number(s, "offered"); ok {
		row.rate("offered", offered, rankOffered)
	}
	seconds := now.at.Sub(last.at).Seconds()
	row.rate("in", perSecond(now.page.In-last.page.In, seconds), rankIn)
	delivered := now.page.Outcomes[event.Delivered] - last.page.Outcomes[event.Delivered]
	row.rate("out", perSecond(delivered, seconds), rankOut)
	if n := now.page.Batches - last.page.Batches; n > 0 {
		row.count("batch", (now.page.In-last.page.In)/n, rankBatch)
	}
	if l := now.latency.Since(last.latency); l.Count() > 0 {
		row.latency("p50", l.Quantile(.5), rankP50)
		row.latency("p99", l.Quantile(.99), rankP99)
	}
	row.count("in flight", now.page.InFlight, rankInFlight)
	if lag, ok := s.Lag(); ok {
		row.count("lag", lag, rankLag)
	}
	for _, st := range s.Stages {
		if state, ok := st.Values["state"].(string); ok {
			row.word(st.Name, state)
		}
	}
	if n := now.page.Diverted; n > 0 {
		row.count("diverted", n, rankTrouble)
	}
	for _, o := range []event.Outcome{event.Poisoned, event.Shed, event.Rejected} {
		if n := now.page.Outcomes[o]; n > 0 {
			row.count(o.String(), n, rankTrouble)
		}
	}
	return row
}

func perSecond(n int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return math.Round(float64(n) / seconds)
}

func number(s *engine.RouteStatus, key string) (float64, bool) {
	for _, st := range s.Stages {
		if v, ok := st.Values[key].(float64); ok {
			return v, true
		}
	}
	return 0, false
}
