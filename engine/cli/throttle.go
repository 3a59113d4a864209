package cli

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// What passes the throttle: in each period, every line that says something new,
// up to a number.
const (
	quiet       = 10 * time.Second
	maxVariants = 10
	maxMessages = 1000 // that are remembered: messages are few, but may hold numbers
)

// throttle lets a line through once in a while: in an outage the same thing
// happens thousands of times. Lines are the same when level, message and words
// are; numbers and errors may differ. The next one that passes says how many
// were held back.
type throttle struct {
	next  slog.Handler
	attrs string // of the logger: the same message of another route is another line
	seen  *sightings
}

func newThrottle(next slog.Handler) *throttle {
	return &throttle{next: next, seen: &sightings{of: make(map[string]*sighting)}}
}

type sightings struct {
	mu sync.Mutex
	of map[string]*sighting // by message
}

// sighting is what was seen of one message since its period began.
type sighting struct {
	since  time.Time
	passed map[string]bool // by the words of its attributes
	held   int
}

func (t *throttle) Enabled(ctx context.Context, l slog.Level) bool { return t.next.Enabled(ctx, l) }

func (t *throttle) Handle(ctx context.Context, r slog.Record) error {
	held, pass := t.seen.pass(r.Level.String()+r.Message+t.attrs, words(r), r.Time)
	if !pass {
		return nil
	}
	if held > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", held))
	}
	return t.next.Handle(ctx, r)
}

// words are what tells one line with a message from another: "made topic" of
// two topics is two lines. An error's text often holds numbers that change.
func words(r slog.Record) string {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString && a.Key != "error" {
			b.WriteString("|" + a.Key + "=" + a.Value.String())
		}
		return true
	})
	return b.String()
}

// pass says whether a line goes through, and how many like it were held back
// in the period before.
func (s *sightings) pass(message, words string, now time.Time) (held int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.of[message]
	if last == nil || now.Sub(last.since) >= quiet {
		if last != nil {
			held = last.held
		} else if len(s.of) >= maxMessages {
			clear(s.of)
		}
		s.of[message] = &sighting{since: now, passed: map[string]bool{words: true}}
		return held, true
	}
	if last.passed[words] || len(last.passed) >= maxVariants {
		last.held++
		return 0, false
	}
	last.passed[words] = true
	return 0, true
}

func (t *throttle) WithAttrs(attrs []slog.Attr) slog.Handler {
	var key strings.Builder
	key.WriteString(t.attrs)
	for _, a := range attrs {
		key.WriteString("|" + a.String())
	}
	return &throttle{next: t.next.WithAttrs(attrs), attrs: key.String(), seen: t.seen}
}

func (t *throttle) WithGroup(name string) slog.Handler {
	return &throttle{next: t.next.WithGroup(name), attrs: t.attrs + "|" + name, seen: t.seen}
}
