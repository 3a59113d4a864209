// Package filter takes events out of a route by a rule.
//
// The rule is an expression, which is compiled when the file is read. Events that it takes out are settled as filtered: the books
// count them, and for their source they are dealt with. An event for which
// the rule makes no sense (it asks whether text is more than 5) is bad: it
// goes to the poison queue, not to one side by guess.
package filter

import (
	"context"
	"embed"
	"fmt"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "filter", Kind: stage.KindTransform, Files: files, New: func() any { return &Config{} }}

// Config is what a pipeline file says about a filter: either when or drop.
type Config struct {
	// Events for which this is true go on, all others are filtered out, such
	// as 'level >= WARN && attributes.user_id != nil'. Names: id, time, level
	// (compares with TRACE to FATAL), source, host, message, correlation_id,
	// trace_id, span_id, organisation, stack_trace, offset, attributes.
	When expression.Condition `yaml:"when"`
	// Events for which this is true are filtered out, all others go on.
	Drop expression.Condition `yaml:"drop"`
}

// Validate asks for exactly one rule.
func (c *Config) Validate(p *stage.Problems) {
	switch {
	case c.When.IsZero() && c.Drop.IsZero():
		p.Add("", "needs when (what goes on) or drop (what is filtered out)")
	case !c.When.IsZero() && !c.Drop.IsZero():
		p.Add("drop", "stands beside when; use one of them, or two filters")
	}
}

// Explain says what becomes of the events.
func (c *Config) Explain() stage.Explanation {
	rule := "events that are not " + c.When.String()
	if c.When.IsZero() {
		rule = "events that are " + c.Drop.String()
	}
	return stage.Explanation{Does: rule + " are taken out and counted as filtered; the source is told that they are dealt with"}
}

// Open makes the filter.
func (c *Config) Open(context.Context, stage.Settings) (stage.Applier, error) {
	if c.When.IsZero() {
		return &filter{rule: c.Drop, key: "drop", keep: false}, nil
	}
	return &filter{rule: c.When, key: "when", keep: true}, nil
}

type filter struct {
	rule expression.Condition
	key  string
	keep bool // what the rule says of events that go on
}

// Apply takes the events out.
func (f *filter) Apply(_ context.Context, b *event.Batch) error {
	for row, e := range b.Open() {
		says, err := f.rule.Match(e)
		switch {
		case err != nil:
			b.Refuse(row, stage.Bad(fmt.Errorf("filter %s cannot be decided: %w", f.key, err)))
		case says != f.keep:
			b.Settle(row, event.Filtered)
		}
	}
	return nil
}

func (f *filter) Close(context.Context) error { return nil }
