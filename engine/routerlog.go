package engine

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

func (l routerLog) Error(msg string, err error, fields watermill.LogFields) {
	l.debug(msg, fields.Add(watermill.LogFields{"error": err}))
}

func (l routerLog) Info(msg string, fields watermill.LogFields)  { l.debug(msg, fields) }
func (l routerLog) Debug(msg string, fields watermill.LogFields) { l.debug(msg, fields) }

// Trace lines come several times a batch; they are not worth their cost.
func (l routerLog) Trace(string, watermill.LogFields) {}

func (l routerLog) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return routerLog{l.log.With(attrs(fields)...)}
}

func (l routerLog) debug(msg string, fields watermill.LogFields) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) { // before the fields are put together
		l.log.Debug("watermill: "+msg, attrs(fields)...)
	}
}

func attrs(fields watermill.LogFields) []any {
	list := make([]any, 0, len(fields))
	for k, v := range fields {
		list = append(list, slog.Any(k, v))
	}
	return list
}
