// Package redact masks what nobody should read in messages, such as card
// numbers.
package redact

import (
	"context"
	"embed"
	"regexp"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "redact", Kind: stage.KindTransform, Files: files, New: func() any {
	return &Config{With: "***"}
}}

// Config is what a pipeline file says about a redact. These comments are what
// `help redact` prints.
type Config struct {
	// What to mask in messages and stack traces, as a regular expression (RE2),
	// such as '\b\d{16}\b'. Attributes are left as they are. Required.
	Pattern string `yaml:"pattern"`
	// What to put in its place, as it stands. Default ***.
	With string `yaml:"with"`
}

// Validate checks the pattern when the file is read, with its place.
func (c *Config) Validate(p *stage.Problems) {
	if _, err := regexp.Compile(c.Pattern); c.Pattern == "" {
		p.Add("pattern", "must be given")
	} else if err != nil {
		p.Add("pattern", "%v", err)
	}
}

// Explain is what `explain` prints.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{Does: "Puts " + c.With + " in place of " + c.Pattern +
		" in messages and stack traces. A poison queue still stores a bad event's original bytes."}
}

// Open makes the transform.
func (c *Config) Open(context.Context, stage.Settings) (stage.Applier, error) {
	pattern, err := regexp.Compile(c.Pattern)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	return &redact{pattern, c.With}, nil
}

type redact struct {
	pattern *regexp.Regexp
	with    string
}

// Apply masks the events that are still open.
func (r *redact) Apply(_ context.Context, b *event.Batch) error {
	for _, e := range b.Open() {
		e.Message = r.mask(e.Message)
		e.StackTrace = r.mask(e.StackTrace)
	}
	return nil
}

// mask copies only texts that have something to hide.
func (r *redact) mask(text string) string {
	if !r.pattern.MatchString(text) {
		return text
	}
	return r.pattern.ReplaceAllLiteralString(text, r.with)
}

// Close has nothing to close.
func (r *redact) Close(context.Context) error { return nil }
