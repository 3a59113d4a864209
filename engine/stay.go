package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// stay counts the events that are inside a stage, those in the stages within it
// included: where they are held up when a drain takes its time.
type stay struct {
	name   string
	inside atomic.Int64
	within []*stay
}

// around counts the open events of every batch that h is called with.
func (s *stay) around(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		n := int64(stage.BatchOf(msg).Count(event.Open))
		s.inside.Add(n)
		defer s.inside.Add(-n)
		return h(msg)
	}
}

// at adds how many events each stage of a tree holds itself. Branches that all
// have the same events count them once each.
func (s *stay) at(held map[string]int64) {
	n := s.inside.Load()
	for _, inner := range s.within {
		n -= inner.inside.Load()
		inner.at(held)
	}
	if n > 0 {
		held[s.name] += n
	}
}

// heldBy says which stages hold how many events: "limiter 500, kafka 20".
func (r *route) heldBy() string {
	held := map[string]int64{}
	r.mu.Lock()
	roots := r.stays
	if r.sub != nil {
		held["the queue"] = r.sub.Queued()
	}
	r.mu.Unlock()
	for _, s := range roots {
		s.at(held)
	}
	var names []string
	for name, n := range held {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(held[b], held[a]), cmp.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, held[name])
	}
	return strings.Join(names, ", ")
}

// How long a drain is quiet, and how often it then says what it waits for.
const (
	drainQuiet = time.Second
	drainNags  = 10 * time.Second
)

// sayWaiting tells of every route that still has events where these are, until
// when they have time, and what becomes of them then.
func (e *Engine) sayWaiting(until time.Time) {
	for _, r := range e.routes {
		s := r.status()
		if s.Page.InFlight > 0 && (s.State == Running || s.State == Draining) {
			r.log.Info("still stopping: events are in flight; told to stop once more, the pipeline gives them up at once",
				"in_flight", s.Page.InFlight, "held_by", r.heldBy(), "until", until.Format(time.TimeOnly), "then", r.fate())
		}
		if r.spool == nil {
			continue
		}
		behind := r.spool.status(s)
		if stored, ok := behind.Lag(); ok && stored > 0 && behind.State == Draining {
			r.log.Info("still stopping: the spool is being emptied; told to stop once more, the pipeline leaves the rest for the next start",
				"events", stored, "until", until.Format(time.TimeOnly))
		}
	}
}

// fate is what becomes of events that are given up.
func (r *route) fate() string {
	if r.cfg.Source == nil {
		return "they are given back to the routes that feed this one"
	}
	if x, ok := r.cfg.Source.Config.(stage.Explainer); ok && x.Explain().Forgets {
		return "they are gone: " + r.cfg.Source.Name + " cannot bring them again"
	}
	return "they are given back to " + r.cfg.Source.Name + ", and come again"
}
