package stagetest

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest/internal/bare"
	"millrace/engine/stagetest/internal/fake"
)

// fakeOptions are what the fakes need to show all that they can do.
func fakeOptions(kind stage.Kind, catalogue []stage.Stage) Options {
	o := Options{Catalogue: catalogue}
	bad := func(i int) event.Event {
		e := logEvent(i)
		e.Message = fake.Bad
		return e
	}
	switch kind {
	case stage.KindSink:
		o.BadEvent = bad
		o.Break = func(t T, b Bench) func() { return connection(t, b).Break() }
		o.Delivered = func(t T, b Bench) []event.Event { return connection(t, b).Rows() }
	case stage.KindTransform:
		o.BadEvent = bad
	case stage.KindResource:
		o.Break = func(_ T, b Bench) func() {
			if c, ok := b.Instance.(*fake.Connection); ok {
				return c.Break()
			}
			return b.Config.(*fake.ConnectionConfig).Break()
		}
	}
	return o
}

func connection(t T, b Bench) *fake.Connection {
	c, err := stage.Use[*fake.Connection](b.Settings, "fake")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

func TestGoodStagesPass(t *testing.T) {
	catalogue := fake.Catalogue("", "")
	overrides := map[string]Options{}
	for _, s := range catalogue {
		overrides[fmt.Sprintf("%s/%s", s.Kind, s.Name)] = fakeOptions(s.Kind, nil)
	}
	ConformanceAll(t, catalogue, overrides)
}

func TestBrokenStagesFailByTheRuleTheyBreak(t *testing.T) {
	for _, c := range []struct {
		kind  stage.Kind
		fault fake.Fault
		rule  string
		says  string // in the failure
	}{
		{stage.KindSink, fake.SettlesItself, "delivers", "the sink settled 50 events from row 0 on as delivered"},
		{stage.KindSink, fake.LeaksGoroutine, "open and close", "goroutines are left"},
		{stage.KindSink, fake.LeaksOnFailedOpen, "open cancelled", "goroutines are left"},
		{stage.KindSink, fake.OpensOnce, "open and close", "the port is in use"},
		{stage.KindSink, fake.PanicsOnClose, "closed twice", "close of closed channel"},
		{stage.KindSink, fake.IgnoresContext, "cancelled during", "Write did not return within"},
		{stage.KindSink, fake.IgnoresContext, "deadline", "Write did not return within"},
		{stage.KindSink, fake.KeepsMemory, "memory", "none of those sent"},
		{stage.KindSink, fake.TouchesAll, "open events only", "none of those sent"},
		{stage.KindSink, fake.BlamesEvents, "weather", "bad_event: connection refused"},
		{stage.KindSink, fake.BlamesPerson, "deadline", "fatal: context deadline exceeded"},
		{stage.KindSink, fake.ClaimsDelivery, "weather", "says that all is delivered"},
		{stage.KindSink, fake.RefusesWhenStopped, "cancelled before", "20 events were refused"},
		{stage.KindSink, fake.FailsAgain, "redelivery", "duplicate key"},
		{stage.KindSink, fake.RefusesAll, "bad event", "row 7 is the bad one"},
		{stage.KindSink, fake.FailsOnEmpty, "nothing open", "nothing to write"},
		{stage.KindSink, fake.SharesDefaults, "defaults", "Labels of two Configs is the same"},
		{stage.KindSink, fake.ValidateChanges, "pure checks", "validated"},

		{stage.KindTransform, fake.Delivers, "applies", "as delivered"},
		{stage.KindTransform, fake.SettlesTwice, "applies", "settling row 6 as filtered, but it is filtered"},
		{stage.KindTransform, fake.FailsAgain, "redelivery", "seen before"},
		{stage.KindTransform, fake.TouchesAll, "open events only", "row 0 was not open in the view"},
		{stage.KindTransform, fake.WritesInPlace, "branches", "row 0 of another branch"},
		{stage.KindTransform, fake.ChangesAndFails, "cancelled before", "though Apply returned context canceled"},
		{stage.KindTransform, fake.RefusesAll, "bad event", "2 events were refused"},

		{stage.KindMiddleware, fake.ReturnsNil, "weather", "it returned nil with 6 open"},
		{stage.KindMiddleware, fake.SettlesTwice, "passes on", "settling row 0 as delivered, but it is delivered"},
		{stage.KindMiddleware, fake.LeavesView, "passes on", "left with another batch"},
		{stage.KindMiddleware, fake.BlamesEvents, "weather", "6 events were refused"},
		{stage.KindMiddleware, fake.HidesFatal, "fatal", "wrong password"},
		{stage.KindMiddleware, fake.LosesRefused, "bad event", "want a RefusedError"},
		{stage.KindMiddleware, fake.IgnoresContext, "cancelled while waiting", "the handler did not return within"},
		{stage.KindMiddleware, fake.GoesOnWhenStopped, "cancelled inside", "though the context is over"},
		{stage.KindMiddleware, fake.DeadlocksOnPanic, "panic inside", "the handler did not return within"},

		{stage.KindSource, fake.ForgetsIDs, "reads", "which is empty or another's"},
		{stage.KindSource, fake.ReusesMemory, "memory", "changed before its Done"},
		{stage.KindSource, fake.GoesOnWhenStopped, "cancelled before", "it goes on and on"},
		{stage.KindSource, fake.IgnoresContext, "cancelled while waiting", "Read (without Options.Feed the example has to bring events itself) did not return within"},
		{stage.KindSource, fake.StaysStopped, "resumed", "Read failed: context canceled"},
		{stage.KindSource, fake.NeedsDelivery, "returned", "events are missing"},
		{stage.KindSource, fake.PanicsOnRejected, "receipts", "nobody is there to be told"},
		{stage.KindSource, fake.NeverEnds, "finishes", "itself) did not return within"},

		{stage.KindResource, fake.ConnectsAtOnce, "opens without the network", "connection refused"},
		{stage.KindResource, fake.HangsOnProbe, "probe", "did not return within"},
		{stage.KindResource, fake.BadStatus, "status", `key "Rows"`},
	} {
		t.Run(fmt.Sprintf("%s that %s", c.kind, c.fault), func(t *testing.T) {
			// What never returns is not worth a wait; on a busy machine even what
			// does may need one.
			var failures []string
			for patience := 200 * time.Millisecond; patience < time.Minute; patience *= 10 {
				catalogue := fake.Catalogue(c.kind, c.fault)
				o := fakeOptions(c.kind, catalogue)
				o.Patience = patience
				failures = failuresOf(t, stageOf(catalogue, c.kind), o, c.rule)
				text := strings.Join(failures, "\n")
				if strings.Contains(text, c.says) && strings.Contains(text, fmt.Sprintf("rule %q", c.rule)) {
					return
				}
			}
			t.Errorf("rule %q reported %q, want it to say %q", c.rule, failures, c.says)
		})
	}
}

func TestUndocumentedStagesFail(t *testing.T) {
	sink := NewSink("other").Stage()
	o := Options{Catalogue: []stage.Stage{bare.Stage, sink, NewSource("memory").Stage()}}
	for rule, wants := range map[string][]string{
		"catalogue entry": {`"Bare-Sink"`},
		"documentation":   {"no embedded file has a package comment", `key "table" (field Table`, `the key "maxRows"`, `key "nested.deep"`},
		"example":         {"first line is no comment", `does not use sink "Bare-Sink"`},
	} {
		text := strings.Join(failuresOf(t, bare.Stage, o, rule), "\n")
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("rule %q reported %q, want it to say %q", rule, text, want)
			}
		}
	}
	if text := strings.Join(failuresOf(t, sink, o, "example"), "\n"); !strings.Contains(text, "embeds no example.yaml") {
		t.Errorf("a stage without an example: %q", text)
	}
}

func TestSkippedRulesGiveTheirReason(t *testing.T) {
	catalogue := fake.Catalogue(stage.KindSink, fake.FailsAgain)
	o := fakeOptions(stage.KindSink, catalogue)
	o.Skip = map[string]string{"redelivery": "the list has no keys"}
	rec := &recorder{t: t}
	rec.run(func() { checkSkips(rec, stageOf(catalogue, stage.KindSink), o) })
	rec.run(func() { ruleOf(t, stage.KindSink, "redelivery").run(rec, stageOf(catalogue, stage.KindSink), o) })
	if rec.Failed() || !slices.ContainsFunc(rec.logs, func(l string) bool { return strings.Contains(l, "the list has no keys") }) {
		t.Errorf("failures %q, log %q", rec.failures, rec.logs)
	}
	o.Skip = map[string]string{"no such rule": "x", "memory": ""}
	rec.run(func() { checkSkips(rec, stageOf(catalogue, stage.KindSink), o) })
	if len(rec.failures) != 2 {
		t.Errorf("an unknown rule and a missing reason: %q", rec.failures)
	}
}

func TestRulesHaveNamesAndWords(t *testing.T) {
	for _, kind := range []stage.Kind{stage.KindSource, stage.KindMiddleware, stage.KindTransform, stage.KindSink, stage.KindResource} {
		seen := map[string]bool{}
		for _, r := range rulesOf(kind) {
			if seen[r.name] || r.says == "" || !regexp.MustCompile(`^[a-z ]+$`).MatchString(r.name) {
				t.Errorf("%s has a rule %q saying %q", kind, r.name, r.says)
			}
			seen[r.name] = true
		}
	}
}

// failuresOf checks one rule of a stage and returns what it reported.
func failuresOf(t *testing.T, s stage.Stage, o Options, name string) []string {
	t.Helper()
	rec := &recorder{t: t}
	rec.run(func() { ruleOf(t, s.Kind, name).run(rec, s, o) })
	return rec.failures
}

func ruleOf(t *testing.T, k stage.Kind, name string) rule {
	t.Helper()
	rules := rulesOf(k)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("there is no rule %q for a %s", name, k)
	}
	return rules[i]
}

func stageOf(catalogue []stage.Stage, k stage.Kind) stage.Stage {
	return catalogue[slices.IndexFunc(catalogue, func(s stage.Stage) bool { return s.Kind == k })]
}

// recorder is a T that remembers failures instead of failing.
type recorder struct {
	t        *testing.T
	mu       sync.Mutex
	failures []string
	logs     []string
}

// run calls f as the testing package would, until it returns or fails for good.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func (r *recorder) Helper()                  {}
func (r *recorder) Name() string             { return r.t.Name() }
func (r *recorder) Cleanup(f func())         { r.t.Cleanup(f) }
func (r *recorder) TempDir() string          { return r.t.TempDir() }
func (r *recorder) Context() context.Context { return r.t.Context() }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}
