// Package set changes the fields and attributes of events: it gives them values,
// renames, copies and removes them.
//
// All of it happens at once: everything that is read is read from the event as
// it came, so that two fields can be swapped and the order of the keys in the
// file means nothing. What is not there is not copied or renamed, and an
// expression that gives nothing (nil) changes nothing.
//
// Doing it again to the same event changes nothing more, unless something that
// is set is also read: renaming a to b and b to c, or counting up. The engine
// applies a transform once to each event, also when its chain runs again; only
// an event that is read again after a crash, as it came, is changed again.
//
// An event is changed wholly or not at all: one for which an expression makes
// no sense, or whose value does not fit its target, is a bad event as it came.
package set

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
	"millrace/stages/internal/roomy"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "set", Kind: stage.KindTransform, Files: files, New: func() any { return &Config{} }}

// Config is what a pipeline file says about a set. Places in an event are time,
// level, id, source, host, message, correlation_id, trace_id, span_id,
// organisation, stack_trace and attributes.NAME.
type Config struct {
	// Constants by place, such as {source: payments, attributes.shard: 3}. Default
	// none.
	Values map[string]any `yaml:"values"`
	// Expressions by place, such as {attributes.slow: 'attributes.took > 0.5',
	// source: 'lower(source)'}; names as in a filter's when. Default none.
	Expressions map[string]expression.Value `yaml:"expressions"`
	// Places by the place they are copied to, such as {attributes.origin: host}.
	// Default none.
	Copy map[string]string `yaml:"copy"`
	// Places by what they were called, such as {attributes.usr: attributes.user}:
	// old name first. Default none.
	Rename map[string]string `yaml:"rename"`
	// Places to empty, such as [stack_trace, attributes.password]. Default none.
	Remove []string `yaml:"remove"`
}

// step is one thing that is done to an event.
type step struct {
	key   string // in the file
	to    place  // nowhere: it is only removed
	from  place
	value result // the constant
	expr  expression.Value
	takes bool // from is emptied
}

// steps are what a Config asks for; problems are reported to fail.
func (c *Config) steps(fail func(key, format string, args ...any)) []step {
	var all []step
	at := func(key, text string) place {
		p, err := placeOf(text)
		if err != nil {
			fail(key, "%v", err)
		}
		return p
	}
	for _, to := range slices.Sorted(maps.Keys(c.Values)) {
		s := step{key: "values." + to, to: at("values."+to, to)}
		var err error
		if s.value, err = constant(c.Values[to], s.to); err != nil {
			fail(s.key, "%v", err)
		}
		all = append(all, s)
	}
	for _, to := range slices.Sorted(maps.Keys(c.Expressions)) {
		s := step{key: "expressions." + to, to: at("expressions."+to, to), expr: c.Expressions[to]}
		if isTime := s.expr.GivesTime(); isTime != (s.to.kind == placeTime) && s.to.kind != placeNone && !s.expr.IsZero() {
			fail(s.key, "gives %s, which %s cannot hold", map[bool]string{true: "a time", false: "no time"}[isTime], to)
		}
		all = append(all, s)
	}
	for _, to := range slices.Sorted(maps.Keys(c.Copy)) {
		all = append(all, step{key: "copy." + to, to: at("copy."+to, to), from: at("copy."+to, c.Copy[to])})
	}
	for _, from := range slices.Sorted(maps.Keys(c.Rename)) {
		all = append(all, step{key: "rename." + from, to: at("rename."+from, c.Rename[from]), from: at("rename."+from, from), takes: true})
	}
	for i, from := range c.Remove {
		all = append(all, step{key: fmt.Sprintf("remove.%d", i), from: at(fmt.Sprintf("remove.%d", i), from), takes: true})
	}
	return all
}

// Validate looks at every place, and that none is wanted to be two things.
func (c *Config) Validate(p *stage.Problems) {
	all := c.steps(p.Add)
	if len(all) == 0 {
		p.Add("", "has nothing to do; give it values, expressions, copy, rename or remove")
	}
	made, taken := map[place]string{}, map[place]string{}
	for _, s := range all {
		if other, ok := made[s.to]; ok && s.to.kind != placeNone {
			p.Add(s.key, "sets %s, which %s sets too", s.to, other)
		}
		made[s.to] = s.key
		if !s.takes {
			continue
		}
		if s.from.kind == placeID {
			p.Add(s.key, "takes the id away, by which events are told apart")
		}
		if other, ok := taken[s.from]; ok && s.from.kind != placeNone {
			p.Add(s.key, "takes %s away, which %s does too", s.from, other)
		}
		taken[s.from] = s.key
	}
	for i, name := range c.Remove {
		if other, ok := made[all[len(all)-len(c.Remove)+i].from]; ok && name != "" {
			p.Add(fmt.Sprintf("remove.%d", i), "removes %s, which %s sets", name, other)
		}
	}
}

// Explain says what is changed, and what becomes of values that do not fit.
func (c *Config) Explain() stage.Explanation {
	var made []string
	for _, s := range c.steps(func(string, string, ...any) {}) {
		if s.to.kind != placeNone {
			made = append(made, s.to.String())
		}
	}
	does := "removes " + strings.Join(c.Remove, ", ")
	if len(made) > 0 {
		does = "sets " + strings.Join(made, ", ") + "; an event for which that makes no sense is a bad event, unchanged"
	}
	return stage.Explanation{Does: does}
}

// Open makes the setter.
func (c *Config) Open(context.Context, stage.Settings) (stage.Applier, error) {
	s := &setter{steps: c.steps(func(string, string, ...any) {})}
	for _, step := range s.steps {
		if step.to.kind == placeAttribute {
			s.adds++
		}
	}
	s.results.New = func() any { r := make([]result, len(s.steps)); return &r }
	return s, nil
}

type setter struct {
	steps   []step
	adds    int       // attributes, at most
	results sync.Pool // of *[]result, one for each step
}

// Apply changes the events.
func (s *setter) Apply(_ context.Context, b *event.Batch) error {
	results := s.results.Get().(*[]result)
	defer func() {
		clear(*results)
		s.results.Put(results)
	}()
	var room roomy.Room
	left := b.Count(event.Open)
	for row, e := range b.Open() {
		left--
		if err := s.read(e, *results); err != nil {
			b.Refuse(row, stage.Bad(err))
			continue
		}
		room.Make(e, s.adds, left+1)
		s.write(e, *results)
	}
	return nil
}

// read finds out what everything will be.
func (s *setter) read(e *event.Event, results []result) error {
	for i := range s.steps {
		step := &s.steps[i]
		if step.value.there { // it fits: that was looked at when the file was read
			results[i] = step.value
			continue
		}
		var r result
		var err error
		if step.expr.IsZero() {
			r = step.from.read(e)
		} else {
			r, err = evaluate(step.expr, e)
		}
		if err == nil && r.there && step.to.kind != placeNone {
			r, err = step.to.fit(r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.key, err)
		}
		results[i] = r
	}
	return nil
}

// write empties first, since a place that is emptied may be set.
func (s *setter) write(e *event.Event, results []result) {
	for i := range s.steps {
		if step := &s.steps[i]; step.takes && results[i].there {
			step.from.empty(e)
		}
	}
	for i := range s.steps {
		if step := &s.steps[i]; step.to.kind != placeNone && results[i].there {
			step.to.write(e, results[i])
		}
	}
}

func evaluate(x expression.Value, e *event.Event) (result, error) {
	got, err := x.Of(e)
	if err != nil || got.Missing {
		return result{}, err
	}
	return result{there: true, value: got.Value, time: got.Time, isTime: x.GivesTime()}, nil
}

func (s *setter) Close(context.Context) error { return nil }
