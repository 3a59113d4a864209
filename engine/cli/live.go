package cli

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

func watch(e *engine.Engine, s *screen, log *slog.Logger) *watcher {
	w := &watcher{e, s, log, make(map[string]glance), make(chan struct{}), make(chan struct{})}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.ended)
	every := logEvery
	if w.screen.terminal {
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
		if w.screen.terminal {
			w.screen.show(table(rows, true))
			continue
		}
		for _, r := range rows {
			w.log.Info("route", "name", r[0], "state", r[1], "doing", strings.Join(r[2:], ", "))
		}
	}
}

// end takes the live lines away.
func (w *watcher) end() {
	close(w.stop)
	<-w.ended
	if w.screen.terminal {
		w.screen.show(nil)
	}
}

// look reads every route and compares it with the last look.
func (w *watcher) look() [][]string {
	var rows [][]string
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

// describe is a route's live line, cell by cell.
func describe(s *engine.RouteStatus, last, now glance) []string {
	row := []string{s.Name, string(s.State)}
	if s.Reason != nil {
		return append(row, s.Reason.Error())
	}
	seconds := now.at.Sub(last.at).Seconds()
	rate := func(a, b int64) string {
		if seconds <= 0 {
			return "0/s"
		}
		return thousands(int64(float64(b-a)/seconds+0.5)) + "/s"
	}
	if offered, ok := number(s, "offered"); ok {
		row = append(row, "offered "+thousands(int64(offered+0.5))+"/s")
	}
	row = append(row,
		"in "+rate(last.page.In, now.page.In),
		"out "+rate(last.page.Outcomes[event.Delivered], now.page.Outcomes[event.Delivered]))
	if n := now.page.Batches - last.page.Batches; n > 0 {
		row = append(row, "batch "+strconv.FormatInt((now.page.In-last.page.In)/n, 10))
	}
	if l := now.latency.Since(last.latency); l.Count() > 0 {
		row = append(row, "p50 "+short(l.Quantile(.5)), "p99 "+short(l.Quantile(.99)))
	}
	row = append(row, "in flight "+thousands(s.Page.InFlight))
	if lag, ok := s.Lag(); ok {
		row = append(row, "lag "+thousands(lag))
	}
	for _, st := range s.Stages {
		if state, ok := st.Values["state"].(string); ok {
			row = append(row, st.Name+" "+state)
		}
	}
	for _, o := range []event.Outcome{event.Poisoned, event.Shed, event.Rejected} {
		if n := now.page.Outcomes[o]; n > 0 {
			row = append(row, o.String()+" "+thousands(n))
		}
	}
	return row
}

func number(s *engine.RouteStatus, key string) (float64, bool) {
	for _, st := range s.Stages {
		if v, ok := st.Values[key].(float64); ok {
			return v, true
		}
	}
	return 0, false
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}

func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// table pads the cells of each column to the same width. Ragged rows only
// line up their first two columns.
func table(rows [][]string, ragged bool) []string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	lines := make([]string, len(rows))
	for n, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			switch {
			case i == len(r)-1 && (ragged || i == 0):
				b.WriteString(cell)
			case ragged || i == 0:
				b.WriteString(cell + pad + "  ")
			default:
				b.WriteString("  " + pad + cell)
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// printBooks prints the account of a run.
func printBooks(out interface{ Write([]byte) (int, error) }, e *engine.Engine, r engine.Report) {
	fmt.Fprintf(out, "\nbooks of %s after %.1f s (%.1f s of CPU, %.0f MB at most)\n",
		r.Pipeline, r.DurationS, r.Resources.CPUSeconds, r.Resources.MaxRSSMB)
	rows := [][]string{{"route", "in", "delivered", "filtered", "shed", "poisoned", "rejected", "returned", "in flight", "batches", "p50", "p99", "p99.9"}}
	var notes []string
	for _, s := range e.Status() {
		b := r.Routes[s.Name].Books
		row := []string{s.Name}
		for _, n := range []int64{b.In, b.Delivered, b.Filtered, b.Shed, b.Poisoned, b.Rejected, b.Returned, b.InFlight, b.Batches} {
			row = append(row, thousands(n))
		}
		for _, q := range []float64{.5, .99, .999} {
			row = append(row, short(s.Latencies.Quantile(q)))
		}
		rows = append(rows, row)
		switch err := s.Page.Check(); {
		case err != nil:
			notes = append(notes, s.Name+": "+err.Error())
		case b.Lost > 0:
			notes = append(notes, fmt.Sprintf("%s: %s events were gone at the source before they could be read", s.Name, thousands(b.Lost)))
		}
	}
	for _, line := range table(rows, false) {
		fmt.Fprintln(out, line)
	}
	if len(notes) == 0 {
		notes = []string{"balanced: every event that came in is accounted for"}
	}
	fmt.Fprintln(out, strings.Join(notes, "\n"))
}
