package stagetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// rig holds a stage while one rule is checked. It is the T of everything
// around the stage, so that all of that ends before leaks are looked for.
type rig struct {
	T
	rule    rule
	stage   stage.Stage
	o       Options
	before  goleak.Option
	cleanup []func()
	hung    bool // a call did not return: leaks were told of already

	bench    Bench
	clock    *Clock
	pipeline *config.Pipeline
	closed   bool // the instance was
}

func newRig(t T, r rule, s stage.Stage, o Options) *rig {
	if o.Event == nil {
		o.Event = logEvent
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	return &rig{T: t, rule: r, stage: s, o: o, before: goleak.IgnoreCurrent(), closed: true}
}

// Errorf reports that the rule is broken, and names it.
func (r *rig) Errorf(format string, args ...any) {
	r.Helper()
	r.T.Errorf("rule %q (%s): %s", r.rule.name, r.rule.says, fmt.Sprintf(format, args...))
}

// Fatalf is Errorf, and ends the check.
func (r *rig) Fatalf(format string, args ...any) {
	r.Helper()
	r.T.Fatalf("rule %q (%s): %s", r.rule.name, r.rule.says, fmt.Sprintf(format, args...))
}

// Cleanup runs f when the rule has been checked.
func (r *rig) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }

// end closes what is open and looks for goroutines that are left.
func (r *rig) end() {
	r.Helper()
	if p := recover(); p != nil {
		r.Errorf("panic: %v", p)
	}
	defer r.leaks()
	defer r.tidy()
	r.close()
}

// tidy ends what was put around the stage, the last first.
func (r *rig) tidy() {
	for i := len(r.cleanup) - 1; i >= 0; i-- {
		r.cleanup[i]()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func (r *rig) leaks() {
	r.Helper()
	if r.hung {
		return
	}
	deadline := time.Now().Add(r.o.Patience) // one that was told to end may have to wait for a core
	for {
		err := goleak.Find(r.before)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.Errorf("goroutines are left when all is closed: %v", err)
			return
		}
	}
}

// shortly is a deadline that is meant to pass.
const shortly = 100 * time.Millisecond

// within runs one call of the stage, and fails the rule when it panics or does
// not return.
func (r *rig) within(call string, f func()) {
	r.Helper()
	if p, ok := r.try(call, f); !ok || p != nil {
		r.Fatalf("%s panicked: %v", call, p)
	}
}

// try runs one call of the stage and returns what it panicked with; it fails
// the rule when the call does not return.
func (r *rig) try(call string, f func()) (panicked any, ok bool) {
	r.Helper()
	done := make(chan any, 1)
	go func() {
		returned := false
		defer func() {
			if p := recover(); p != nil || returned {
				done <- p
				return
			}
			done <- "runtime.Goexit"
		}()
		f()
		returned = true
	}()
	return r.wait(call, done), true
}

// wait waits for a call that has every reason to return.
func (r *rig) wait(call string, done <-chan any) any {
	r.Helper()
	patience := time.NewTimer(r.o.Patience)
	defer patience.Stop()
	select {
	case p := <-done:
		return p
	case <-patience.C:
		r.hung = true
		r.Fatalf("%s did not return within %v", call, r.o.Patience)
		return nil
	}
}

// prepare reads the example, opens the resources in it and makes the Settings.
func (r *rig) prepare(options ...func(*stage.Settings)) {
	r.Helper()
	r.pipeline = r.example()
	r.bench.Config = r.configIn(r.pipeline)
	if r.bench.Config == nil {
		r.Fatalf("example.yaml does not use %s %q", r.stage.Kind, r.stage.Name)
	}
	r.clock = NewRunningClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r.bench.Server = NewServer(r)
	r.bench.Settings = Settings(r, append([]func(*stage.Settings){WithClock(r.clock), WithServer(r.bench.Server)}, options...)...)
	r.bench.Name = r.stage.Name
	for _, resource := range r.pipeline.Resources {
		if resource.Config != r.bench.Config {
			r.openResource(resource)
		}
	}
	if r.stage.Kind == stage.KindSource || r.stage.Kind == stage.KindResource {
		r.bench.Step = 0
	}
	if r.stage.Kind == stage.KindResource {
		r.bench.Route = ""
	}
}

func (r *rig) openResource(resource config.Resource) {
	r.Helper()
	s := r.bench.Settings
	s.Route, s.Name, s.Step, s.Metrics = "", resource.Name, 0, prometheus.NewRegistry()
	opened, err := resource.Config.Open(r.Context(), s)
	if err != nil {
		r.Fatalf("opening resource %q of the example: %v", resource.Name, err)
	}
	r.Cleanup(func() {
		if err := opened.Close(); err != nil {
			r.Errorf("closing resource %q of the example: %v", resource.Name, err)
		}
	})
	WithResource(resource.Name, opened)(&r.bench.Settings)
}

// open opens the stage, as the engine would after closing it: with metrics and
// paths of its own.
func (r *rig) open(ctx context.Context) (err error) {
	r.Helper()
	r.bench.Metrics = prometheus.NewRegistry()
	r.bench.Server.Unmount()
	var instance any
	r.within("Open", func() { instance, err = openConfig(ctx, r.bench.Config, r.bench.Settings) })
	if err == nil {
		r.bench.Instance, r.closed = instance, false
	}
	return err
}

// mustOpen prepares and opens the stage, and closes it when the rule ends.
func (r *rig) mustOpen(options ...func(*stage.Settings)) {
	r.Helper()
	r.prepare(options...)
	if err := r.open(r.Context()); err != nil {
		r.Fatalf("Open of the example's configuration failed: %v", err)
	}
}

func openConfig(ctx context.Context, c any, s stage.Settings) (any, error) {
	switch c := c.(type) {
	case stage.Source:
		return c.Open(ctx, s)
	case stage.Middleware:
		return c.Open(ctx, s)
	case stage.Transform:
		return c.Open(ctx, s)
	case stage.Sink:
		return c.Open(ctx, s)
	case stage.Resource:
		return c.Open(ctx, s)
	}
	return nil, fmt.Errorf("a %T is no stage", c)
}

// close closes the instance, if it is open.
func (r *rig) close() {
	r.Helper()
	if r.closed {
		return
	}
	r.closed = true
	if p, err := r.callClose("Close"); p != nil {
		r.Errorf("Close panicked: %v", p)
	} else if err != nil {
		r.Errorf("Close failed: %v", err)
	}
}

func (r *rig) callClose(what string) (p any, err error) {
	r.Helper()
	if r.hung {
		return nil, nil // never close while a call is running
	}
	p, _ = r.try(what, func() {
		switch i := r.bench.Instance.(type) {
		case io.Closer:
			err = i.Close()
		case interface{ Close(context.Context) error }:
			ctx, cancel := context.WithTimeout(context.Background(), r.o.Patience)
			defer cancel()
			err = i.Close(ctx)
		}
	})
	return p, err
}

// needs reports whether an option is there that a rule cannot do without.
func (r *rig) needs(there bool, option string) bool {
	if !there {
		r.Logf("rule %q is not checked: it needs Options.%s", r.rule.name, option)
	}
	return there
}

// batch makes a batch of n events that lie in a source's memory.
func (r *rig) batch(n int) (*memory, *event.Batch) { return r.batchFrom(0, n) }

// batchFrom is batch with events from number `first` on.
func (r *rig) batchFrom(first, n int) (*memory, *event.Batch) {
	m := newMemory(n, func(i int) event.Event { return r.o.Event(first + i) })
	b := event.NewBatch(m.events)
	b.AddOrigin(n, event.Origin{Kind: "test", Name: r.Name()})
	return m, b
}

// cancelled is a context that is over.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
