// Package mark marks events, for the tests of the command line.
//
// This paragraph is long enough to be broken into more than one line, at
// whatever width the reader has, and what follows is not:
//
//	first   in a column
//	second  in a column
package mark

import (
	"context"
	"embed"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "mark", Kind: stage.KindTransform, Files: files, New: func() any {
	return &Config{With: "nobody"}
}}

// Config is what a pipeline file says about a mark.
type Config struct {
	// What the events are marked with: a text that becomes the attribute seen_by of
	// every event that passes, whatever it was before. Default nobody.
	With string `yaml:"with"`
	// Left out is what a user need not say.
	Only []string `yaml:"only"`
}

// Explain says what it does.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{Does: "marks every event with " + c.With}
}

// Open makes the transform.
func (c *Config) Open(context.Context, stage.Settings) (stage.Applier, error) { return c, nil }

// Apply marks the open events.
func (c *Config) Apply(_ context.Context, b *event.Batch) error {
	for _, e := range b.Open() {
		e.SetAttribute("seen_by", event.String(c.With))
	}
	return nil
}

// Close has nothing to close.
func (c *Config) Close(context.Context) error { return nil }
