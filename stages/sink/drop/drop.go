// Package drop throws events away. They count as delivered: it is the end of
// routes that measure the rest of a pipeline, or whose middlewares are the
// point.
package drop

import (
	"context"
	"embed"
	"sync/atomic"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "drop", Kind: stage.KindSink, Files: files, New: func() any { return &Config{} }}

// Config is what a pipeline file says about a drop: nothing.
type Config struct{}

// Explain warns of what delivered means here.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{Does: "events are counted as delivered and thrown away"}
}

// Open makes the sink.
func (c *Config) Open(context.Context, stage.Settings) (stage.Writer, error) { return &sink{}, nil }

type sink struct{ dropped atomic.Int64 }

// Write takes the open events.
func (s *sink) Write(_ context.Context, b *event.Batch) error {
	s.dropped.Add(int64(b.Count(event.Open)))
	return nil
}

// Status tells how many events were taken, as "dropped".
func (s *sink) Status() map[string]any { return map[string]any{"dropped": s.dropped.Load()} }

func (s *sink) Close(context.Context) error { return nil }
