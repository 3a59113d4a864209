package bare

import (
	"context"
	"embed"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is a sink that nobody documented; this package has no comment on
// purpose.
var Stage = stage.Stage{Name: "Bare-Sink", Kind: stage.KindSink, Files: files, New: func() any { return &Config{} }}

// Config has keys that nobody explained.
type Config struct {
	Table   string `yaml:"table"`
	MaxRows int    `yaml:"maxRows"` // MaxRows is how many rows.
	Nested  Nested `yaml:"nested"`  // Nested is explained.
}

// Nested is below Config.
type Nested struct {
	Deep bool `yaml:"deep"`
}

// Open implements stage.Sink.
func (c *Config) Open(context.Context, stage.Settings) (stage.Writer, error) { return c, nil }

// Write implements stage.Writer.
func (c *Config) Write(context.Context, *event.Batch) error { return nil }

// Close implements stage.Writer.
func (c *Config) Close(context.Context) error { return nil }
