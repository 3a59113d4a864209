package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// newLogger logs text for people on a terminal and JSON otherwise; lines that
// repeat are thinned out.
func newLogger(w io.Writer, terminal bool, level string) *slog.Logger {
	var min slog.Level
	_ = min.UnmarshalText([]byte(level)) // the grammar allows known names only
	var h slog.Handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: min})
	if terminal {
		h = newTextLines(w, min)
	}
	return slog.New(&throttle{next: h, seen: &sightings{last: make(map[string]*sighting)}})
}

// textLines writes a log line as "15:04:05 WARN  message  key=value".
type textLines struct {
	w     io.Writer
	mu    *sync.Mutex
	buf   *bytes.Buffer
	attrs slog.Handler // writes the attributes into buf
}

func newTextLines(w io.Writer, level slog.Level) *textLines {
	buf := &bytes.Buffer{}
	return &textLines{w: w, mu: &sync.Mutex{}, buf: buf, attrs: slog.NewTextHandler(buf, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (h *textLines) Enabled(ctx context.Context, l slog.Level) bool { return h.attrs.Enabled(ctx, l) }

func (h *textLines) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	var line strings.Builder
	line.WriteString(r.Time.Format(time.TimeOnly) + " " + r.Level.String())
	line.WriteString(strings.Repeat(" ", max(1, 6-len(r.Level.String()))) + r.Message)
	if h.buf.Len() > 1 {
		line.WriteString("  ")
	}
	line.Write(h.buf.Bytes())
	_, err := io.WriteString(h.w, line.String())
	return err
}

func (h *textLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = h.attrs.WithAttrs(attrs)
	return &c
}

func (h *textLines) WithGroup(name string) slog.Handler {
	c := *h
	c.attrs = h.attrs.WithGroup(name)
	return &c
}

// quiet is how long a line that was logged is not logged again.
const quiet = 10 * time.Second

// throttle lets a line through once in a while: in an outage the same thing
// happens thousands of times. The next one that passes says how often it was
// held back.
type throttle struct {
	next  slog.Handler
	attrs string // of the logger: the same message of another route is another line
	seen  *sightings
}

type sightings struct {
	mu   sync.Mutex
	last map[string]*sighting
}

type sighting struct {
	at   time.Time
	held int
}

func (t *throttle) Enabled(ctx context.Context, l slog.Level) bool { return t.next.Enabled(ctx, l) }

func (t *throttle) Handle(ctx context.Context, r slog.Record) error {
	held, pass := t.seen.pass(r.Level.String()+r.Message+t.attrs, r.Time)
	if !pass {
		return nil
	}
	if held > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", held))
	}
	return t.next.Handle(ctx, r)
}

func (s *sightings) pass(key string, now time.Time) (held int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last[key]
	if last == nil {
		if len(s.last) > 1000 { // bounded: messages are few, but may hold numbers
			clear(s.last)
		}
		s.last[key] = &sighting{at: now}
		return 0, true
	}
	if now.Sub(last.at) < quiet {
		last.held++
		return 0, false
	}
	held = last.held
	*last = sighting{at: now}
	return held, true
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
