package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// repeatAfter is how long the same line of a client is not shown again: a
// broker that is away makes each client say so several times a second.
const repeatAfter = 30 * time.Second

// logger passes a client's lines on: its warnings are informative (the stages
// report what fails), its errors warnings, the rest is for debugging.
type logger struct {
	to   *slog.Logger
	mu   sync.Mutex
	last map[string]time.Time
}

func newLogger(to *slog.Logger) *logger { return &logger{to: to, last: map[string]time.Time{}} }

// Level is how much the client need say.
func (l *logger) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

// Log passes one line on.
func (l *logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelWarn
	case kgo.LogLevelWarn:
		to = slog.LevelInfo
	}
	if to > slog.LevelDebug && !l.first(msg) {
		return
	}
	l.to.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}

// first says whether a line was not seen lately. The client's messages are
// constant texts, so that the map stays small.
func (l *logger) first(msg string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last[msg]) < repeatAfter {
		return false
	}
	l.last[msg] = now
	return true
}

// brokerLogger passes the embedded broker's lines on.
type brokerLogger struct{ to *slog.Logger }

// Logf passes one line on.
func (l brokerLogger) Logf(level kfake.LogLevel, msg string, args ...any) {
	if level != kfake.LogLevelWarn && level != kfake.LogLevelError {
		return
	}
	l.to.Warn("embedded broker: " + fmt.Sprintf(msg, args...))
}
