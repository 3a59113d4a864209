package generator

import (
	"fmt"

	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// Plan is the load that the generator begins with, to be drawn.
func (c *Config) Plan() *load.Plan { return c.plan(&stage.Problems{}) }

// plan makes the plan of rate and load; nil when something is wrong with them,
// which is added to the problems.
func (c *Config) plan(p *stage.Problems) *load.Plan {
	switch {
	case c.Load.IsZero():
		return c.constant(p)
	case c.Load.Journal != "":
		return c.journal(p)
	}
	var found stage.Problems
	whole := read.Resolve(c.Load, &found)
	if c.Rate != 0 {
		whole = c.rated(whole, p)
	}
	var plan *load.Plan
	if len(found.Found) == 0 {
		plan = whole.Compile(&found)
	}
	for _, f := range found.Found {
		if f.Key != "" {
			f.Key = "." + f.Key
		}
		f.Key = "load" + f.Key
		p.Found = append(p.Found, f)
	}
	if plan != nil {
		plan.Name = read.NameOf(c.Load, "")
	}
	return plan
}

// journal makes the plan of a run that is played again.
func (c *Config) journal(p *stage.Problems) *load.Plan {
	var found stage.Problems
	plan := read.Compile(c.Load, &found)
	for _, f := range found.Found {
		f.Key = "load." + f.Key
		p.Found = append(p.Found, f)
	}
	if c.Rate != 0 {
		p.Add("rate", "has no place beside load.journal, which says all there is to the load, got %v", c.Rate)
	}
	return plan
}

// constant makes the plan of a rate.
func (c *Config) constant(p *stage.Problems) *load.Plan {
	rate := c.Rate
	if rate == 0 {
		rate = preset
	}
	switch {
	case rate.IsMax():
		return load.Max().Compile(p)
	case !(rate > 0):
		p.Add("rate", "must be above 0, got %v", rate)
	case rate > Rate(load.MaxRate):
		p.Add("rate", "must be at most %v, got %v; use max for as fast as possible", load.MaxRate, rate)
	default:
		return load.Constant(load.Rate(rate)).Compile(p)
	}
	return nil
}

// rated puts the rate into a named profile that is nothing but a rate.
func (c *Config) rated(whole load.Profile, p *stage.Problems) load.Profile {
	constant := c.constant(p)
	switch {
	case constant == nil || whole.IsZero(): // which has been reported
	case c.Load.Name == "" || !whole.IsConstant():
		p.Add("rate", "has no place beside a load that says the rate itself, got %v; "+
			"leave one of them out, or change the load by its scale", c.Rate)
	case c.Rate.IsMax():
		return load.Max()
	default:
		whole.Phases = constant.Profile.Phases
	}
	return whole
}

// offered says how much a plan offers, for people.
func (c *Config) offered(p *load.Plan) string {
	switch {
	case p.Profile.Model.Closed != nil:
		return fmt.Sprintf("by %d workers, each of which waits for its event before the next", p.Profile.Model.Closed.Workers)
	case p.Profile.IsConstant():
		return "at " + load.Rate(p.Rate(0)).String()
	case c.Load.Journal != "":
		return "as in the run of " + string(c.Load.Journal)
	case p.Name != "":
		return "by the load " + p.Name
	default:
		return fmt.Sprintf("by a load of %d phases", p.Phases())
	}
}

// lateness says what becomes of events when the route is slower than the load.
var lateness = map[string]func(most stage.Duration) string{
	"catch_up": func(most stage.Duration) string {
		if most > 0 {
			return fmt.Sprintf("When the route is slower, they wait, and their latency counts from when they were due; "+
				"those that are more than %v late are left out and counted.", most)
		}
		return "When the route is slower, they wait, and their latency counts from when they were due; none is left out."
	},
	"drop": func(most stage.Duration) string {
		return fmt.Sprintf("When the route is slower, those that are more than %v late are left out and counted.", most)
	},
	"stretch": func(stage.Duration) string {
		return "When the route is slower, the rest of the load is put off; none is left out."
	},
}
