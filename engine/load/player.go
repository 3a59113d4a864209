package load

import (
	"math"
	"time"
)

// Tick is how often events that have become due are handed out. Timers round
// shorter waits up to about this, so a finer grain would only cost wake-ups.
const Tick = time.Millisecond

// lateAfter is how late an event may be without being called late.
const lateAfter = 10 * time.Millisecond

// maxLegs bounds how many changes can wait for a route that takes no events.
const maxLegs = 1000

// Player plays a plan. It is told the time, as what has passed since its own
// beginning, and never looks at a clock; times must not go back by more than a
// tick. It is not safe for concurrent use.
type Player struct {
	legs   []leg   // the last one plays; those before it still owe events
	next   float64 // the next event, counted from the beginning of the first leg
	gaps   *gaps   // of the first leg
	former *mode   // what comes after a profile that is for a time; nil: it is not
	ends   time.Duration
	counts Counts

	replays *Plan // of the recording that plays; nil: none does
	script  []step
	began   time.Duration // when it, or what plays, began
}

// Counts is what became of the events so far.
type Counts struct {
	Handed    int64         // handed out
	Late      int64         // of them, more than 10 ms after they were due
	Dropped   int64         // left out since they were too late
	Stretched time.Duration // by how much the profile was put off
	Changes   int64         // of the load, those that came by themselves included
}

// Play begins a plan at a time.
func Play(p *Plan, now time.Duration) *Player {
	pl := &Player{}
	pl.start(newMode(p), tickOf(now))
	return pl
}

// Began is when the plan was begun, or begun anew.
func (p *Player) Began() time.Duration { return p.began }

// Say tells what events say from the beginning on; to be called before anything
// is taken or changed.
func (p *Player) Say(c Content) { p.last().says = c }

func tickOf(t time.Duration) time.Duration { return t.Truncate(Tick) }

func (p *Player) start(m mode, now time.Duration) {
	p.began, p.replays, p.script = now, nil, nil
	if steps := m.plan.steps; steps != nil {
		p.replays, p.script = m.plan, steps[1:]
		m = steps[0].begin()
	}
	p.legs = append(p.legs[:0], newLeg(m, now))
	p.gaps, p.next = m.gaps, m.gaps.first()
	p.lasts()
}

// lasts says that the plan that plays is not for a time.
func (p *Player) lasts() { p.former, p.ends = nil, never }

// Restart begins the plan anew and forgets what was owed, and what was only
// for a time.
func (p *Player) Restart(now time.Duration) {
	m := p.last().mode
	if p.former != nil {
		m = *p.former
	}
	m = m.lasting()
	if p.replays != nil {
		m = newMode(p.replays)
	}
	m.at, m.gaps = 0, newGaps(m.plan.Profile.Arrivals, m.plan.Profile.Seed)
	p.start(m, tickOf(now))
}

func (p *Player) last() *leg { return &p.legs[len(p.legs)-1] }

// Upcoming is what the event says that Take would hand out next.
func (p *Player) Upcoming(now time.Duration) Content {
	p.advance(now)
	tick := tickOf(now)
	p.forgive(tick)
	for l := &p.legs[0]; l.until != never && p.next > l.totalAt(tick); l = &p.legs[0] {
		p.pop()
	}
	return p.legs[0].says
}

// Take adds the times at which events were due, those until the last tick that
// were not taken before, to a list, as long as it has fewer than most. Each is
// one event to hand out now. All of them say the same content: where it changes,
// the next call brings the others.
func (p *Player) Take(now time.Duration, most int, due []time.Duration) []time.Duration {
	return p.take(now, most, due, nil)
}

// TakeWithPhases is Take, and adds the name of the phase that brought each event
// to another list. An event that is due when a phase ends is its last one.
func (p *Player) TakeWithPhases(now time.Duration, most int, due []time.Duration, phases []string) ([]time.Duration, []string) {
	due = p.take(now, most, due, &phases)
	return due, phases
}

func (p *Player) take(now time.Duration, most int, due []time.Duration, phases *[]string) []time.Duration {
	p.advance(now)
	tick := tickOf(now)
	p.forgive(tick)
	had := len(due)
	for len(due) < most {
		l := &p.legs[0]
		if l.plan.unlimited && l.moves() && l.until == never {
			first := len(due)
			for len(due) < most {
				due = append(due, now)
			}
			l.name(due[first:], phases)
			break
		}
		if end := l.totalAt(tick); p.next <= end {
			first := len(due)
			due = p.draw(l, end, most, due)
			for i := len(due) - 1; i >= first && due[i] > tick; i-- {
				due[i] = tick // by the last digit of a float: none is handed out before it is due
			}
			l.name(due[first:], phases)
		} else if l.until == never {
			break
		} else {
			says := l.says
			if p.pop(); len(due) > had && p.legs[0].says != says {
				break
			}
		}
	}
	p.count(tick, due[had:])
	return due
}

// draw adds the events of a leg until it has brought so many, or the rate
// changes in a way that needs another look.
func (p *Player) draw(l *leg, end float64, most int, due []time.Duration) []time.Duration {
	e := float64(l.when(p.next) - l.from)
	due = append(due, l.from+time.Duration(e))
	at := p.next
	p.next += p.gaps.next()
	s, ok := l.steady(e)
	if !ok {
		return p.follow(l, e, at, end, most, due)
	}
	if at < s.base {
		return due
	}
	if !math.IsInf(s.end, 1) {
		end = min(end, s.base+(s.end-s.start)*s.rate/second)
	}
	for p.next <= end && len(due) < most {
		due = append(due, l.from+time.Duration(s.when(p.next)))
		p.next += p.gaps.next()
	}
	return due
}

// follow adds the events of a leg where its rate changes: each is looked for
// where the one before it, which was the event at, and the rate there say, and
// then found exactly.
func (p *Player) follow(l *leg, e, at, end float64, most int, due []time.Duration) []time.Duration {
	long := l.length()
	for p.next <= end && len(due) < most {
		guess := func(h float64) float64 {
			near := e + (h-at)/l.rateAt(e)*second
			if !(near > e && near < e+second/10) {
				return l.guess(h)
			}
			return near - (l.total(near)-h)/l.rateAt(near)*second
		}
		d := first(l.total, guess, p.next, long)
		due = append(due, l.from+d)
		e, at = float64(d), p.next
		p.next += p.gaps.next()
	}
	return due
}

// count keeps the books of what was handed out.
func (p *Player) count(now time.Duration, due []time.Duration) {
	p.counts.Handed += int64(len(due))
	for _, d := range due {
		if now-d <= lateAfter {
			break // the rest is later
		}
		p.counts.Late++
	}
}

// pop leaves the first leg, whose events have all been taken.
func (p *Player) pop() {
	p.next -= p.legs[0].events
	n := copy(p.legs, p.legs[1:])
	p.legs[n] = leg{}
	p.legs = p.legs[:n]
	if p.gaps != p.legs[0].gaps {
		p.gaps = p.legs[0].gaps
		p.next = min(p.next, 1) // a long gap of bursty arrivals ends with them
	}
}

// begin goes over to another mode at a tick.
func (p *Player) begin(m mode, at time.Duration) {
	l := p.last()
	l.until, l.events = at, l.totalAt(at)
	p.legs = append(p.legs, newLeg(m, at))
	p.counts.Changes++
	for len(p.legs) > 1 && p.next > p.legs[0].events {
		p.pop()
	}
}

// advance makes the changes that come by themselves: what was for a time, or a
// plan that has ended, gives way to what was before it; and those of a
// recording, after what came by itself at the same tick then.
func (p *Player) advance(now time.Duration) {
	for {
		at, next := p.turns(), p.scripted()
		if min(at, next) > tickOf(now) {
			return
		}
		if next < at {
			c := p.script[0].change
			p.script = p.script[1:]
			p.apply(c, next)
			continue
		}
		back := p.current(at)
		if back.lapses() > min(p.ends, p.end()) {
			back = *p.former
			p.lasts()
		}
		p.begin(back.lapsed(at), at)
	}
}

// scripted is when the next change of a recording comes; never: there is none.
func (p *Player) scripted() time.Duration {
	if len(p.script) == 0 {
		return never
	}
	return max(p.began+p.script[0].at, p.last().from)
}

// turns is the tick at which the next change comes by itself; never: none does.
func (p *Player) turns() time.Duration {
	at := p.last().lapses()
	if p.former != nil {
		at = min(at, p.ends, p.end())
	} else if p.end() < at {
		return never // the plan is over first, and nothing comes after it
	}
	if at >= never {
		return never
	}
	return max(tickOf(at+Tick-1), p.last().from)
}

// end is when the plan that plays is over.
func (p *Player) end() time.Duration {
	l := p.last()
	if long := l.length(); long < float64(never-l.from) {
		return l.from + time.Duration(long)
	}
	return never
}

// forgive deals with events that are too late, as the profile wants it.
func (p *Player) forgive(now time.Duration) {
	switch late := p.last().plan.late; {
	case late.MaxLag == 0:
	case late.Policy == stretch:
		p.postpone(now, late.MaxLag.Std())
	default:
		p.leaveOut(now - late.MaxLag.Std() - 1)
	}
}

// postpone moves everything that is still to come, so that the next event is
// due now.
func (p *Player) postpone(now, lag time.Duration) {
	l := &p.legs[0]
	if len(p.legs) > 1 || p.next > l.totalAt(now) {
		return // what was owed before a change stays where it was
	}
	by := now - l.when(p.next)
	if by <= lag || l.plan.unlimited {
		return
	}
	for i := range p.legs {
		p.legs[i].from += by
		if p.legs[i].until != never {
			p.legs[i].until += by
		}
	}
	p.counts.Stretched += by
}

// leaveOut drops the events that were due before a time.
func (p *Player) leaveOut(before time.Duration) {
	for {
		l := &p.legs[0]
		if end := l.totalAt(min(max(before, l.from), l.until)); p.next <= end {
			p.skip(end)
		}
		if l.until == never || l.until > before || p.next <= l.events {
			return
		}
		p.pop()
	}
}

// mostDraws bounds the work of dropping random arrivals one by one.
const mostDraws = 10_000

// skip drops the events of the first leg up to so many.
func (p *Player) skip(end float64) {
	for n := 0; p.next <= end; n++ {
		step := 1.0
		if p.gaps.kind == even || n == mostDraws {
			// Random arrivals that are very far behind are counted by their mean.
			step = math.Floor(end-p.next) + 1
		}
		p.counts.Dropped += int64(step)
		p.next += step - 1 + p.gaps.next()
	}
}

// Wake is when there will be something to do next, if nothing is changed until
// then: the tick at which an event is due, or the plan is over. false: there
// will be nothing.
func (p *Player) Wake() (at time.Duration, ever bool) {
	at = p.legs[0].when(p.next)
	if len(p.legs) > 1 {
		at = p.legs[0].from // events are owed
	}
	if at = min(at, p.turns(), p.scripted(), p.end()); at >= never {
		return 0, false
	}
	return tickOf(at + Tick - 1), true
}

// Ended reports whether the plan is over, nothing comes after it and nothing is
// owed.
func (p *Player) Ended(now time.Duration) bool {
	end := p.end()
	return p.turns() == never && p.scripted() == never && end <= now && len(p.legs) == 1 && p.next > p.legs[0].totalAt(end)
}
