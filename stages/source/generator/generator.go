// Package generator makes events up: for trying a pipeline out, for loading it,
// and for measuring it.
//
// Its load says when each event is due; once a millisecond Read hands out what
// has become due as one parcel. Each event carries the time at which it was
// due, also when the route could not take it then, so that latency counts the
// waiting: a pipeline that falls behind looks slow, as it is, and not less
// loaded. When the route takes events again, everything that has become due
// meanwhile is handed out, unless the load says otherwise.
//
// A load is a rate, or a profile of phases, random arrivals and more; profiles
// such as steady, ramp and flash come with the engine. While the pipeline runs,
// it can be exchanged and changed at /api/v1/routes/{route}/load, and by
// changing its file or its trace, from one millisecond to the next: no event is
// lost or doubled, and nothing is caught up on. So can what the events say: their
// numbers and sessions go on rising. What changes a load is kept in its journal
// (the table generator_load of the state database), from which a run can be
// played again: load: {journal: FILE}.
//
// What event i says is a function of seed and i alone (and of the phase of the
// load, where the content has other values for phases), so that runs repeat;
// its id and times are not. Events belong to sessions, which are interleaved:
// they share their correlation and trace ids, the user and the request.
//
// Content is in the fields of events, or one line of JSON, logfmt, RFC 5424 or
// of an access log, for routes that parse. It can be skewed, come in bursts of
// errors, and be flawed: broken, doubled or late.
package generator

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"millrace/engine/load"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "generator", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{
		Threads: 1, Seed: 1, Start: true,
		Content: usualContent(),
	}
}}

// Config is what a pipeline file says about a generator.
type Config struct {
	// Rate is how many events are offered, such as 10/s, 100k/s or 2M/min. Default 1k/s; "max" means as fast as the route takes them. Events that the route could not take when they were due are handed out as soon as it can, all of them, and their latency counts from when they were due. It is the short form of a constant load; beside the name of a profile that is a constant rate, such as load: steady, it takes the place of that rate.
	Rate Rate `yaml:"rate"`
	// Load is a profile instead of a rate: the name of one that comes with the engine (smoke, steady, ramp, stairs, flash, diurnal, soak, chaos), {file: …} for one of your own, or a map with its phases. A profile that ends, ends the route.
	Load load.Profile `yaml:"load" form:"name, rate or map"`
	// Threads is how many threads make the content of large parcels together. Default 1, which makes millions of events per second. The rate is the same whatever the number, and so is the content.
	Threads int `yaml:"threads"`
	// Count ends the route after so many events. Default 0: endless.
	Count int64 `yaml:"count"`
	// Seed decides the content: the same seed makes the same events. Default 1. Ids and times are always new.
	Seed int64 `yaml:"seed"`
	// Content is what the events say.
	Content Content `yaml:"content"`
	// API is the path below which the generator is steered over HTTP: POST start and stop, GET status and rate/{key}, such as /api/v1/generator. Default "": no API.
	API string `yaml:"api"`
	// Start says whether events are made from the beginning, or only once the API is told to. Default true.
	Start bool `yaml:"start"`
}

const maxThreads = 256

// Validate reports what is wrong with the configuration.
func (c *Config) Validate(p *stage.Problems) {
	plan := c.plan(p)
	c.checkPhases(plan, p)
	c.replays(plan, p)
	if c.Threads < 1 || c.Threads > maxThreads {
		p.Add("threads", "must be between 1 and %d, got %d", maxThreads, c.Threads)
	}
	if c.Count < 0 {
		p.Add("count", "must be at least 0 (endless), got %d", c.Count)
	}
	c.validateAPI(p)
	compile(c.Content, c.Seed, "", p)
}

// checkPhases warns of content for a phase that the load has not; one that it is
// exchanged for may have it.
func (c *Config) checkPhases(plan *load.Plan, p *stage.Problems) {
	if plan == nil {
		return
	}
	var names []string
	for at, more := time.Duration(0), true; more && len(names) < plan.Phases(); at, more = plan.Next(at) {
		names = append(names, plan.Position(at).Name)
	}
	for _, phase := range slices.Sorted(maps.Keys(c.Content.Phases)) {
		if !slices.Contains(names, phase) {
			p.Warn("content.phases."+phase, "has no effect: the phases of the load are %v", names)
		}
	}
}

func (c *Config) validateAPI(p *stage.Problems) {
	switch {
	case c.API == "":
		if !c.Start {
			p.Warn("start", "is false and there is no api, so that nothing can ever start this generator")
		}
	case c.API == "/" || !strings.HasPrefix(c.API, "/") || path.Clean(c.API) != c.API || strings.ContainsAny(c.API, " {}?#%"):
		p.Add("api", "must be a plain path such as /api/v1/generator, without a slash at its end, got %q", c.API)
	}
}

// Explain says what the generator adds to the guarantee of its route.
func (c *Config) Explain() stage.Explanation {
	does := "Events are made up, as fast as the route takes them."
	if plan := c.plan(&stage.Problems{}); plan != nil && (!plan.Unlimited() || plan.Profile.Model.Closed != nil) {
		does = "Events are made up and offered " + c.offered(plan) + ". " + lateness[plan.Late().Policy](plan.Late().MaxLag)
	}
	return stage.Explanation{
		Does: does, Forgets: true,
		Crash: "Events that were not delivered yet are gone and are not made again: nobody was promised them. After a restart the same content begins anew, under new ids.",
	}
}

// Open makes a generator that is ready to Read, and serves its API.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	var p stage.Problems
	c.Validate(&p)
	if wrong := firstError(&p); wrong != nil {
		return nil, stage.Fatal(fmt.Errorf("%s: %s", wrong.Key, wrong.Text))
	}
	random, err := newIDs()
	if err != nil {
		return nil, err
	}
	plan, prog := c.replays(c.plan(&p), &p), compile(c.Content, c.Seed, s.Instance, &p)
	r := newReader(c, s, plan, prog, random)
	if err := r.register(s.Metrics); err != nil {
		return nil, stage.Fatal(err)
	}
	if err := r.serve(ctx, c, s); err != nil {
		r.unregister(s.Metrics)
		return nil, err
	}
	if c.Start {
		if err := r.desk.start(ctx); err != nil {
			r.desk.watch.stop()
			r.unregister(s.Metrics)
			return nil, err
		}
	}
	if s.Clock == stage.SystemClock {
		r.pacer.bell.alarm = newAlarm()
	}
	return r, nil
}

// serve mounts the HTTP paths and begins the journal.
func (r *reader) serve(ctx context.Context, c *Config, s stage.Settings) error {
	if c.API != "" {
		if err := s.Mount(c.API+"/", r.api(c.API)); err != nil {
			return stage.Fatal(fmt.Errorf("serving the API at %s: %w", c.API, err))
		}
	}
	if s.Mount != nil {
		for _, path := range []string{load.Path(s.Route), load.Path(s.Route) + "/"} {
			if err := s.Mount(path, r.desk); err != nil {
				return stage.Fatal(fmt.Errorf("serving the load at %s: %w", path, err))
			}
		}
	}
	return r.desk.open(ctx, c.Load)
}

// firstError is the first problem that is not only a warning.
func firstError(p *stage.Problems) *stage.Problem {
	for i := range p.Found {
		if !p.Found[i].Warning {
			return &p.Found[i]
		}
	}
	return nil
}

// most is how many events one parcel holds at most: enough to make the work
// around it small, few enough to keep its texts within some megabytes.
func (prog *program) most() int64 {
	const events, bytes = 1000, 4 << 20
	return min(events, max(1, int64(bytes/max(1, prog.longest))))
}
