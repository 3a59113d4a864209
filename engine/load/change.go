package load

import (
	"errors"
	"fmt"
	"time"

	"millrace/engine/stage"
)

// Change is what a user asks of a running load. What is nil stays as it is.
type Change struct {
	// Plan is another profile, from its beginning. One that ends, or that is for
	// a time, gives way to the one before it, which goes on where it was.
	Plan *Plan
	// Lasting says of a plan that ends that nothing comes after it.
	Lasting bool
	// Scale multiplies all rates of the profile from now on; 1: as written.
	Scale *float64
	// Rate holds this rate, in events per second, whatever the profile says.
	Rate *Rate
	// Hold true stays at the present rate; false goes on with the profile where
	// it was held, also after Rate.
	Hold *bool
	// Pause true offers nothing; false goes on where it was paused.
	Pause *bool
	// Next goes to the next phase, and on from there.
	Next bool
	// Content is what events say from now on. Where it comes with a plan that
	// ends, or is for a time, that before it comes back with the load before it.
	Content Content
	// TTL is how long all this is for. It comes off then, whatever else was
	// changed meanwhile; but what a later change sets too stays as that has set
	// it, for as long as that is for. 0: it lasts.
	TTL time.Duration
}

// Content is what events say: the source knows how to say it, a load only from
// when on it counts.
type Content interface {
	// Hash names it: the same content has the same one.
	Hash() string
	// JSON is it in the keys of a file.
	JSON() []byte
}

// ErrBusy says that too many changes wait for a route that takes no events.
var ErrBusy = errors.New("the route takes no events, and too many changes of its load wait for it already")

// mostTTL is what a change can be for, far from where times overflow.
const mostTTL = never / 2

// Check adds what is wrong with a change to the problems, by key.
func (p *Player) Check(c Change, now time.Duration, found *stage.Problems) {
	m, _ := p.after(c, now)
	unlimited := m.plan.unlimited
	if c.Scale != nil {
		switch s := *c.Scale; {
		case !(s > 0) || s > 1e9:
			found.Add("scale", "must be above 0 and at most 1e9, got %v", s)
		case unlimited:
			found.Add("scale", "has no effect on max; give a rate")
		case peak(m.plan.curve)*s > float64(MaxRate):
			found.Add("scale", "lifts the highest rate of the profile, %v, over %v, got %v", Rate(peak(m.plan.curve)), MaxRate, s)
		}
	}
	if c.Rate != nil && !(*c.Rate >= 0 && *c.Rate <= MaxRate) {
		found.Add("rate", "must be from 0 to %v, got %v", MaxRate, *c.Rate)
	}
	if c.Hold != nil {
		switch {
		case *c.Hold && c.Rate == nil && unlimited && (c.Plan != nil || !p.last().held):
			found.Add("hold", "has no rate to hold: the load is max; give a rate")
		case !*c.Hold && c.Rate != nil:
			found.Add("hold", "must not be false beside a rate, which is held")
		}
	}
	if c.Next {
		if _, ok := p.nextPhase(now); !ok {
			found.Add("next", "there is no phase after this one")
		}
	}
	if c.TTL < 0 {
		found.Add("ttl", "must be above 0, got %v", c.TTL)
	}
	if c.Plan == nil && c.Scale == nil && c.Rate == nil && c.Hold == nil && c.Pause == nil && !c.Next && c.Content == nil {
		found.Add("", "changes nothing: give scale, rate, hold, pause, next or content")
	}
}

// Apply makes a change, from the last tick on. Events that were due before and
// not taken are still handed out, at the times they were due; the change owes
// nothing of the past. It ends a recording that is played. The change must have
// been checked.
func (p *Player) Apply(c Change, now time.Duration) error {
	p.advance(now)
	if len(p.legs) >= maxLegs {
		return ErrBusy
	}
	p.replays, p.script = nil, nil // whoever takes over, goes on from here
	p.apply(c, now)
	return nil
}

func (p *Player) apply(c Change, now time.Duration) {
	m, at := p.after(c, now)
	switch finite := c.Plan != nil && !c.Lasting && c.Plan.Length() != Endless; {
	case c.Plan != nil && !finite && c.TTL == 0:
		p.lasts()
	case c.Plan != nil:
		p.keep(p.current(at))
	case c.TTL == 0 && p.former != nil: // goes on with what comes after the profile
		back := p.former.changed(Change{Content: c.Content, Pause: c.Pause}, never)
		p.former = &back
	}
	if c.Plan != nil && c.TTL > 0 {
		p.ends = at + min(c.TTL, mostTTL)
	}
	p.begin(m, at)
}

// keep remembers what comes after a profile that is for a time: the last mode
// whose profile was not.
func (p *Player) keep(m mode) {
	if p.former == nil {
		p.former = &m
	}
	p.ends = never
}

// current is the mode that plays, with its place at a time.
func (p *Player) current(at time.Duration) mode {
	l := p.last()
	m := l.mode
	m.at = l.place(at)
	return m
}

// after is the mode that a change leads to, and from when on.
func (p *Player) after(c Change, now time.Duration) (mode, time.Duration) {
	at, until := max(tickOf(now), p.last().from), never
	if c.Plan == nil && c.TTL > 0 {
		until = at + min(c.TTL, mostTTL)
	}
	return p.current(at).changed(c, until), at
}

func (p *Player) nextPhase(now time.Duration) (time.Duration, bool) {
	m := p.current(max(tickOf(now), p.last().from))
	return m.plan.Next(span(m.at))
}

// State is how a load stands.
type State struct {
	Plan      *Plan
	Content   Content       // nil: nobody has said
	Since     time.Duration // when the last change began to count
	Replays   *Plan         // the recording that is played; nil: none is
	ToCome    int           // changes of it that are still to come
	Elapsed   time.Duration // place in the plan
	Position  Position
	Rate      float64 // events/s that are asked for now; +Inf: max
	Scale     float64
	Held      bool
	HeldAt    float64 // events/s that are held, also while it is paused
	Paused    bool
	Temporary bool          // something of it is for a time
	Left      time.Duration // until that comes off, or the first of it; Endless where only the plan's end decides and it has none
	Visits    bool          // the plan is for a time: the one before it comes back
	Leaves    time.Duration // when it does, whatever its length; Endless: when it has ended
	Behind    int64         // events that are due and not taken
	Counts    Counts
}

// State tells how the load stands.
func (p *Player) State(now time.Duration) State {
	p.advance(now)
	at := max(now, p.last().from)
	m := p.current(at)
	s := State{
		Plan: m.plan, Content: m.says, Since: p.last().from, Elapsed: span(m.at), Position: m.plan.Position(span(m.at)),
		Rate: m.now(), Scale: m.scale, Held: m.held, HeldAt: m.rate, Paused: m.paused,
		Behind: p.behind(tickOf(now)), Counts: p.counts, Left: Endless,
	}
	s.Replays, s.ToCome = p.replays, len(p.script)
	s.Visits, s.Leaves = p.former != nil, Endless
	if s.Visits && p.ends < never {
		s.Leaves = max(p.ends-now, 0)
	}
	s.Temporary = s.Visits || len(m.amends) > 0
	if ends := min(p.turns(), p.ends, m.lapses()); s.Temporary && ends < never {
		s.Left = max(ends-now, 0)
	}
	return s
}

// Plan is the plan that plays.
func (p *Player) Plan() *Plan { return p.last().plan }

// behind is how many events are due and not taken; of random arrivals, about.
func (p *Player) behind(tick time.Duration) int64 {
	owed := 0.0
	for i := range p.legs {
		l := &p.legs[i]
		if l.until != never {
			owed += l.events
		} else {
			owed += l.totalAt(max(tick, l.from))
		}
	}
	if p.next > owed {
		return 0
	}
	return int64(owed-p.next) + 1
}

// String says in a word or two what a change is, for logs and journals.
func (c Change) String() string {
	var what string
	add := func(format string, args ...any) {
		if what != "" {
			what += ", "
		}
		what += fmt.Sprintf(format, args...)
	}
	if c.Plan != nil {
		add("profile %s", c.Plan.Hash())
	}
	if c.Content != nil {
		add("content %s", c.Content.Hash())
	}
	if c.Next {
		add("next phase")
	}
	if c.Scale != nil {
		add("scale %v", *c.Scale)
	}
	if c.Rate != nil {
		add("rate %v", *c.Rate)
	}
	if c.Hold != nil {
		add("hold %t", *c.Hold)
	}
	if c.Pause != nil {
		add("pause %t", *c.Pause)
	}
	if c.TTL > 0 {
		add("for %v", c.TTL)
	}
	return what
}
