package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"millrace/engine/cli/visible"
)

// newLogger logs text for people on a terminal and JSON otherwise; lines that
// repeat are thinned out.
func newLogger(s *screen, level string) *slog.Logger {
	var min slog.Level
	_ = min.UnmarshalText([]byte(level)) // the grammar allows known names only
	var h slog.Handler = slog.NewJSONHandler(s, &slog.HandlerOptions{Level: min})
	if s.terminal() {
		h = newTextLines(s, min, s.width)
	}
	return slog.New(newThrottle(h))
}

// textLines writes a log line as "15:04:05 WARN  message  key=value", broken
// at the terminal's width.
type textLines struct {
	w     io.Writer
	width func() int // 0: lines are not broken
	mu    *sync.Mutex
	buf   *bytes.Buffer
	attrs slog.Handler // writes the attributes into buf
}

// afterLevel is the column of a message, and where a broken line goes on.
const afterLevel = len("15:04:05 WARN  ")

func newTextLines(w io.Writer, level slog.Level, width func() int) *textLines {
	buf := &bytes.Buffer{}
	return &textLines{w: w, width: width, mu: &sync.Mutex{}, buf: buf, attrs: slog.NewTextHandler(buf, &slog.HandlerOptions{
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
	head := pad(r.Time.Format(time.TimeOnly)+" "+r.Level.String(), afterLevel-1) + " "
	line := hang(head, afterLevel, visible.Line(r.Message), h.width())
	if attrs := strings.TrimSpace(h.buf.String()); attrs != "" {
		line = hang(line+"  ", afterLevel, visible.Line(attrs), h.width())
	}
	_, err := io.WriteString(h.w, line+"\n")
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
