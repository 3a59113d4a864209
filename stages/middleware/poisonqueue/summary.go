package poisonqueue

import (
	"log/slog"
	"sync"
	"time"

	"millrace/engine/stage"
	"millrace/stages/internal/poison"
)

// often is the least time between two lines of the same kind: a topic full of
// bad events must not fill the log as well. Longer than the pause within which
// the engine holds back lines that repeat, so that no count is lost.
const often = 15 * time.Second

// summary writes a line for many stored events: how many, and why the first.
// Never what is in them.
type summary struct {
	log   *slog.Logger
	clock stage.Clock

	mu     sync.Mutex
	last   time.Time // when a line about stored events was written
	waited time.Time // when one about a store that takes nothing was
	count  int
	reason string
	id     string
	stage  string
}

func (s *summary) stored(r *poison.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		s.reason, s.id, s.stage = r.Reason, r.EventID, r.Stage
	}
	s.count++
	if now := s.clock.Now(); now.Sub(s.last) >= often {
		s.last = now
		s.write("bad events are in the poison queue")
	}
}

// flush writes about what was stored since the last line.
func (s *summary) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write("more bad events are in the poison queue")
}

func (s *summary) write(text string) {
	if s.count == 0 {
		return
	}
	facts := []any{"events", s.count, "first_event_id", s.id, "first_reason", s.reason}
	if s.stage != "" {
		facts = append(facts, "refused_by", s.stage)
	}
	s.log.Warn(text, facts...)
	s.count = 0
}

// blocked writes that the route waits for the store.
func (s *summary) blocked(waiting int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.Now(); now.Sub(s.waited) >= often {
		s.waited = now
		s.log.Error("the route waits: "+err.Error(), "events", waiting)
	}
}
