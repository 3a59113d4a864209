package load

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"millrace/engine/stage"
)

// maxPhases and maxParts bound what a small file can become.
const (
	maxPhases = 1000
	maxParts  = 100_000
	maxTimes  = stage.Duration(200 * 365 * 24 * 3600 * 1e9) // 200 years
	maxFile   = 256 << 20                                   // bytes of all traces
)

// Compile makes a plan. What is wrong is added to the problems, by key within
// the profile; the plan is nil then. Traces are read from their files. The
// profile must be whole: Name and File have been replaced by what they stand
// for (package read).
func (p Profile) Compile(found *stage.Problems) *Plan {
	c := &compiler{problems: found, scale: 1}
	before := wrong(found)
	plan := &Plan{Profile: p, unlimited: p.Unlimited, late: p.late()}
	c.settings(&p)
	closed := p.Model.Closed != nil
	switch {
	case p.Unlimited, closed && len(p.Phases) == 0:
		if p.Scale != nil && p.Unlimited {
			c.add("scale", "has no effect on max")
		}
		plan.unlimited = true
		plan.once = newChain(flat(0, math.Inf(1)))
		plan.curve, plan.phases = plan.once, []phase{{name: "max", measure: true, long: math.Inf(1)}}
	case len(p.Phases) == 0:
		c.add("phases", "must have at least one phase, such as {constant: 5k/s}, got none")
	case len(p.Phases) > maxPhases:
		c.add("phases", "must be at most %d, got %d", maxPhases, len(p.Phases))
	default:
		c.phases(&p, plan)
	}
	if wrong(found) > before {
		return nil
	}
	plan.hash, plan.traces = HashOf(p.JSON(), c.traces...), c.files
	return plan
}

func wrong(p *stage.Problems) (n int) {
	for _, found := range p.Found {
		if !found.Warning {
			n++
		}
	}
	return n
}

type compiler struct {
	problems *stage.Problems
	scale    float64
	seed     int64
	traces   [][]byte // what the files of traces hold
	files    []string
	size     int64 // bytes of the files of traces, also of those that are wrong
	lines    int   // of traces
	parts    int
	drawn    uint64 // shapes with periods by chance
}

func (c *compiler) add(key, format string, args ...any) { c.problems.Add(key, format, args...) }

// settings checks what is not about the curve.
func (c *compiler) settings(p *Profile) {
	c.seed = p.Seed
	if p.Scale != nil {
		c.scale = *p.Scale
		if !(c.scale > 0) || c.scale > 1e9 {
			c.add("scale", "must be above 0 and at most 1e9, got %v", c.scale)
			c.scale = 1
		}
	}
	if p.Loop < Forever {
		c.add("loop", "must be true, false or at least 1, got %d", int(p.Loop))
	}
	p.Arrivals.check(c)
	c.late(p)
	if m := p.Model.Closed; m != nil {
		if m.Workers < 1 || m.Workers > 100_000 {
			c.add("model.closed.workers", "must be from 1 to 100000, got %d", m.Workers)
		}
		c.within("model.closed.think", m.Think, 0, maxTimes)
	}
}

func (a *Arrivals) check(c *compiler) {
	kinds := 0
	if a.Kind != "" {
		kinds++
	}
	if a.Gamma != nil {
		kinds++
		if cv := a.Gamma.CV; !(cv >= 0.01 && cv <= 10) {
			c.add("arrivals.gamma.cv", "must be from 0.01 to 10, got %v", cv)
		}
	}
	if a.Jitter != nil {
		kinds++
		if j := *a.Jitter; !(j >= 0 && j <= 1) {
			c.add("arrivals.jitter", "must be from 0%% to 100%%, got %v", j)
		}
	}
	if kinds > 1 {
		c.add("arrivals", "must be one of uniform, poisson, gamma and jitter, got %d of them", kinds)
	}
}

// late fills in the defaults of what happens to late events.
func (p *Profile) late() Late {
	l := p.Late
	switch {
	case l.Policy != "":
	case p.Model.Closed != nil:
		l.Policy = stretch // what no worker could send is not owed
	default:
		l.Policy = catchUp
	}
	if l.MaxLag == 0 && l.Policy != catchUp {
		l.MaxLag = stage.Duration(lateAfter)
	}
	return l
}

func (c *compiler) late(p *Profile) {
	if p.Late.Policy != "" {
		c.problems.OneOf("late.policy", p.Late.Policy, policies...)
	}
	c.within("late.max_lag", p.Late.MaxLag, 0, maxTimes)
	if l := p.Late; l.MaxLag > 0 && l.MaxLag < stage.Duration(2*Tick) {
		c.add("late.max_lag", "must be at least %v, since events are handed out once a millisecond, got %v", 2*Tick, l.MaxLag)
	}
}

func (c *compiler) within(key string, d, low, high stage.Duration) bool {
	if d >= low && d <= high {
		return true
	}
	switch {
	case d < low && low == 1:
		c.add(key, "must be above 0, got %v", d)
	case d < low:
		c.add(key, "must be at least %v, got %v", low, d)
	default:
		c.add(key, "must be at most %v, got %v", high, d)
	}
	return false
}

// phases makes the curve of all phases.
func (c *compiler) phases(p *Profile, plan *Plan) {
	var parts []curve
	before := wrong(c.problems)
	start := 0.0
	for i := range p.Phases {
		key := "phases." + strconv.Itoa(i)
		last := i == len(p.Phases)-1
		part := c.phase(&p.Phases[i], key, uint64(i))
		if part == nil {
			continue
		}
		long := part.length()
		if math.IsInf(long, 1) && !last {
			c.add(key+".for", "is required: a phase that others follow needs a length, such as for: 30s")
		}
		plan.phases = append(plan.phases, phase{nameOf(&p.Phases[i]), p.Phases[i].Measure == nil || *p.Phases[i].Measure, start, long})
		start += long
		parts = append(parts, part)
	}
	if wrong(c.problems) > before {
		return
	}
	plan.once = newChain(parts...)
	c.loop(p, plan)
}

func nameOf(p *Phase) string {
	if p.Name != "" {
		return p.Name
	}
	return strings.Join(p.given(), "+")
}

// loop repeats the phases, and finds profiles that never offer anything.
func (c *compiler) loop(p *Profile, plan *Plan) {
	plan.curve = plan.once
	if len(plan.once.parts) == 1 {
		plan.curve = plan.once.parts[0]
	}
	last := plan.phases[len(plan.phases)-1]
	lastKey := "phases." + strconv.Itoa(len(plan.phases)-1)
	endless := math.IsInf(last.long, 1)
	switch {
	case p.Loop != 0 && endless:
		c.add("loop", "repeats phases that have no end: give %s a length, such as for: 30s", lastKey)
		return
	case endless && plan.once.parts[len(plan.once.parts)-1].total(far/2) == 0:
		c.add(lastKey, "offers nothing for ever: give it a rate above 0, or a length")
		return
	case !endless && plan.once.total(plan.once.length()) == 0:
		c.add("phases", "offer nothing at all: at least one needs a rate above 0")
		return
	}
	switch {
	case p.Loop == Forever:
		plan.curve = repeat(plan.curve, math.Inf(1))
	case p.Loop > 1:
		plan.curve = repeat(plan.curve, float64(p.Loop))
	}
	if r := peak(plan.curve) * c.scale; r > float64(MaxRate) {
		c.add("phases", "add up to %v at their highest, the most is %v", Rate(r), MaxRate)
	}
	if long := plan.curve.length(); !math.IsInf(long, 1) && long > float64(maxTimes) {
		c.add("phases", "last longer than %v together", maxTimes)
	}
	if c.scale != 1 {
		plan.curve = scaled{plan.curve, c.scale}
	}
}

// given lists the shapes that a file has given.
func (s *Shape) given() (names []string) {
	for _, g := range []struct {
		name string
		is   bool
	}{
		{"constant", s.Constant != nil}, {"ramp", s.Ramp != nil}, {"step", s.Step != nil}, {"spike", s.Spike != nil},
		{"sine", s.Sine != nil}, {"on_off", s.OnOff != nil}, {"trace", s.Trace != nil}, {"sum", s.Sum != nil}, {"pause", s.Pause != nil},
	} {
		if g.is {
			names = append(names, g.name)
		}
	}
	return names
}

// phase makes the curve of one phase; nil when it is impossible.
func (c *compiler) phase(p *Phase, key string, number uint64) curve {
	before := wrong(c.problems)
	long := math.Inf(1)
	if p.For != nil {
		c.within(key+".for", *p.For, 1, maxTimes)
		long = float64(*p.For)
		if p.Pause != nil {
			c.add(key+".for", "has no place beside pause, which says how long itself")
		}
	}
	made := c.shape(&p.Shape, key, long)
	if p.Noise != nil && !(*p.Noise >= 0 && *p.Noise <= 1) {
		c.add(key+".noise", "must be from 0%% to 100%%, got %v", *p.Noise)
	}
	if wrong(c.problems) > before {
		return nil
	}
	if long < made.length() {
		made = until{made, long}
	} else if !math.IsInf(long, 1) && long > made.length() {
		made = until{repeat(made, math.Inf(1)), long} // a trace, again from its beginning
	}
	if p.Noise != nil && *p.Noise > 0 {
		made = noisy{made, float64(*p.Noise), mix(uint64(c.seed)) + mix(number), new(atomic.Pointer[group])}
	}
	return made
}

// rate checks a rate, which a profile's scale multiplies.
func (c *compiler) rate(key string, r Rate) bool {
	switch scaled := float64(r) * c.scale; {
	case math.IsNaN(float64(r)) || r < 0:
		c.add(key, "must be at least 0, got %v", r)
	case scaled > float64(MaxRate) && c.scale != 1:
		c.add(key, "must be at most %v once it is scaled by %v, got %v", MaxRate, c.scale, r)
	case scaled > float64(MaxRate):
		c.add(key, "must be at most %v, got %v", MaxRate, r)
	default:
		return true
	}
	return false
}

func (c *compiler) trace(key string, t *Trace) curve {
	speed, scale := c.factor(key+".speed", t.Speed), c.factor(key+".scale", t.Scale)
	if t.File == "" {
		c.add(key+".file", "is required: name a CSV file with a time and a count in each line")
		return nil
	}
	data, err := ReadFile(string(t.File), maxFile-c.size)
	if err != nil {
		c.add(key+".file", "%s cannot be read: %v", t.File, err)
		return nil
	}
	c.size += int64(len(data))
	points, err := ReadTrace(bytes.NewReader(data), or(t.Time, "timestamp"), or(t.Value, "value"))
	if err != nil {
		c.add(key+".file", "%s: %v", t.File, err)
		return nil
	}
	if c.lines += len(points); c.lines > maxTrace {
		c.add(key+".file", "%s: the traces of a profile must have at most %d lines together", t.File, maxTrace)
		return nil
	}
	if speed == 0 || scale == 0 {
		return nil
	}
	c.traces, c.files = append(c.traces, data), append(c.files, string(t.File))
	made := traceCurve(points, speed, scale)
	for i, part := range made.(*chain).parts {
		if r := part.rate(0) * c.scale; !(r <= float64(MaxRate)) || part.length() < 1 {
			c.add(key, "goes over %v at line %d: lower its scale or its speed", MaxRate, i+2)
			return nil
		}
	}
	return made
}

func (c *compiler) factor(key string, f *float64) float64 {
	switch {
	case f == nil:
		return 1
	case !(*f > 0) || *f > 1e9:
		c.add(key, "must be above 0 and at most 1e9, got %v", *f)
		return 0
	default:
		return *f
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
