package stagetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Options give the kit what a stage needs to show what it can do. The zero
// Options run every rule that the stage's example.yaml is enough for; a rule
// that needs more is named in the test's log.
type Options struct {
	// Catalogue is what the stage's example may name, the stage included; nil:
	// the stage alone.
	Catalogue []stage.Stage
	// Dir is the folder that file names in the example are relative to; "": a
	// temporary one that holds the stage's embedded files.
	Dir string
	// Set are settings laid over the example, as with --set: "path=value".
	Set []string
	// Env are the variables that the example sees; nil: none is set.
	Env map[string]string

	// Event makes the i-th event that is sent through the stage; nil: a log
	// event with everything in it.
	Event func(i int) event.Event
	// BadEvent makes an event that the stage (or its destination) cannot take,
	// while the one before and after it go on. Nil: not checked.
	BadEvent func(i int) event.Event
	// Feed brings events to an opened source until the context ends, and
	// returns when it does. It runs in a goroutine of its own. Nil: the example
	// brings its own.
	Feed func(ctx context.Context, t T, b Bench)
	// Break takes the stage's dependency away and returns what brings it back.
	// Nil: the rules about bad weather are not checked.
	Break func(t T, b Bench) (mend func())
	// Delivered reads back what an opened sink has delivered since the rule
	// began: at least ID and Message. Nil: not compared.
	Delivered func(t T, b Bench) []event.Event

	// Skip leaves out rules by name, each with the reason, which is printed.
	Skip map[string]string
	// Patience is how long a call may take that has every reason to return;
	// it only ever decides that something hangs, or is left behind. 0: a minute.
	Patience time.Duration
}

// Bench is what surrounds a stage while a rule is checked.
type Bench struct {
	stage.Settings
	Server   *Server // where Settings.Mount serves
	Config   any     // the stage's, as decoded from its example
	Instance any     // what its Open returned; nil before
}

// Conformance checks that a stage keeps the rules of its kind, each in a
// subtest of its own.
func Conformance(t *testing.T, s stage.Stage, o Options) {
	t.Helper()
	checkSkips(t, s, o)
	for _, r := range rulesOf(s.Kind) {
		t.Run(r.name, func(t *testing.T) { r.run(t, s, o) })
	}
}

// ConformanceAll checks a whole catalogue, each stage in a subtest
// "kind/name". Overrides are the Options of those that need some, by the same
// name; their Catalogue may be left out.
func ConformanceAll(t *testing.T, catalogue []stage.Stage, overrides map[string]Options) {
	t.Helper()
	left := maps.Clone(overrides)
	for _, s := range catalogue {
		name := fmt.Sprintf("%s/%s", s.Kind, s.Name)
		o := overrides[name]
		if o.Catalogue == nil {
			o.Catalogue = catalogue
		}
		delete(left, name)
		t.Run(name, func(t *testing.T) { Conformance(t, s, o) })
	}
	for name := range left {
		t.Errorf("options for %q, which is not in the catalogue", name)
	}
}

// rule is one thing that stages of some kinds must keep.
type rule struct {
	name  string
	says  string // the contract, as it begins a failure
	check func(*rig)
}

// rulesOf lists the rules for a kind.
func rulesOf(k stage.Kind) []rule {
	own := map[stage.Kind][]rule{
		stage.KindSource: sourceRules, stage.KindMiddleware: middlewareRules, stage.KindTransform: transformRules,
		stage.KindSink: sinkRules, stage.KindResource: resourceRules,
	}
	return slices.Concat(paperRules, lifeRules, own[k])
}

// checkSkips finds skips that name no rule: after a rename they would hide it.
func checkSkips(t T, s stage.Stage, o Options) {
	t.Helper()
	rules := rulesOf(s.Kind)
	for name, reason := range o.Skip {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			t.Errorf("Skip names %q, which is no rule for a %s", name, s.Kind)
		}
		if reason == "" {
			t.Errorf("Skip of %q gives no reason", name)
		}
	}
}

// run checks the rule, and that nothing is left behind by it.
func (r rule) run(t T, s stage.Stage, o Options) {
	t.Helper()
	if reason, skip := o.Skip[r.name]; skip {
		t.Logf("rule %q is left out: %s", r.name, reason)
		return
	}
	rig := newRig(t, r, s, o)
	defer rig.end()
	r.check(rig)
}
