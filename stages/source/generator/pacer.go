package generator

import (
	"math"
	"sync"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/journal"
	"millrace/engine/stage"
)

// tick is how often a generator hands out what has become due.
const tick = load.Tick

// pacer decides which events are handed out when: the load, the switch of the
// API, and the workers of a closed load. It is told the time and never looks at
// a clock. Safe for concurrent use: Read takes, the API switches and changes,
// everybody looks.
type pacer struct {
	count  int64 // events in all; 0: endless
	first  int64 // number of the first event
	opened time.Time
	bell   bell

	mu      sync.Mutex
	running bool
	player  *load.Player
	origin  int64         // when it was opened, by the wall clock, in Unix nanoseconds
	total   int64         // events handed out ever; the number of the next one
	meter   meter         // of what was handed out
	before  time.Duration // when the last event handed out was due
	says    *program      // of the turn before the next; nil: there was none since the start
	spoke   sessions      // of the last content
	stretch stretch       // that it belongs to
	phases  []string      // that the events of the turn before the next are due in
	crew    crew
	changes int64
	news    bool          // nothing was handed out since the last change
	changed time.Duration // when that began to count
	handed  time.Time     // when its first event was handed out; zero: it was not yet
	entries int64         // of the journal
	runs    int64         // starts
	had     int64         // events handed out before the last one
}

func newPacer(plan *load.Plan, says *program, count int64, now time.Time) *pacer {
	p := &pacer{
		player: load.Play(plan, 0), count: count, opened: now, origin: now.UnixNano(),
		bell: newBell(), crew: newCrew(plan),
	}
	p.player.Say(says)
	if run, ok := plan.Run(); ok { // its events come again
		p.first, p.stretch = run.First, stretch{run.First, uint64(run.Sessions)}
		if run.Events != nil && p.count == 0 {
			p.count = *run.Events
		}
	}
	return p
}

// turn is a run of events to hand out now.
type turn struct {
	first  int64           // number of its first event, counted from 0 since the generator was opened
	due    []time.Duration // of each event, since it was opened
	origin int64           // when it was opened, in Unix nanoseconds
	before time.Duration   // when the event before the first one was due
	phases []string        // of the event before, and of each event, where the content depends on it; valid until the next turn
	says   *program
	of     stretch
	news   bool  // it has the first event after a change
	crew   int64 // the workers that send them; 0: nobody waits for them
}

func (p *pacer) since(now time.Time) time.Duration { return now.Sub(p.opened) }

// start begins the load anew at now; a generator that runs is left alone. It
// tells whether it did, and what for the journal.
func (p *pacer) start(now time.Time) (journal.Entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return journal.Entry{}, false
	}
	p.running = true
	p.player.Restart(p.since(now))
	p.breakOff()
	p.runs++
	p.had = p.total
	p.bell.ring()
	e := p.entry("started", p.player.Began())
	e.Begins = &load.Run{First: p.stretch.from, Sessions: int64(p.stretch.sessions)}
	whole := p.player.State(p.player.Began()).Whole()
	e.Change = &whole
	return e, true
}

// stop ends the load: what was due and not taken is not offered any more. It
// tells whether there was something to stop, and what for the journal.
func (p *pacer) stop(now time.Time) (journal.Entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, was := p.over(now, "stopped")
	p.running = false
	return e, was
}

// end is what the journal has of a run that ends with its generator; false:
// none runs.
func (p *pacer) end(now time.Time) (journal.Entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over(now, "closed")
}

// over is what the journal has of the end of a run; false: none runs.
func (p *pacer) over(now time.Time, what string) (journal.Entry, bool) {
	if !p.running {
		return journal.Entry{}, false
	}
	e := p.entry(what, p.since(now))
	e.Ends, e.Events = true, p.total-p.had
	return e, true
}

// entry is something that happens to the load, for the journal.
func (p *pacer) entry(what string, since time.Duration) journal.Entry {
	p.entries++
	e := journal.Entry{At: p.clock(since), Number: p.entries, What: what, Since: since - p.player.Began()}
	if p.running {
		e.Run = p.runs
	}
	return e
}

// number is that of the next event.
func (p *pacer) number() int64 { return p.first + p.total }

// verdict is what a Read has to do.
type verdict uint8

const (
	handOut verdict = iota // the turn
	sleep                  // for the wait or until the bell rings, then ask again
	halt                   // until the bell rings, then ask again
	finish                 // all of the load, or of count, was handed out
)

// take claims the events that are due, their times written over room. When
// there are none it says how long it is until there will be, at a tick.
func (p *pacer) take(now time.Time, room []time.Duration) (do verdict, t turn, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.since(now)
	switch {
	case p.finished(since):
		return finish, turn{}, 0
	case !p.running:
		return halt, turn{}, 0
	}
	p.follow(now, since)
	p.crew.follow(p.player.Plan())
	says := p.player.Upcoming(since).(*program)
	if p.says == nil || p.says.hash != says.hash {
		p.phases = p.phases[:0]
	}
	due := p.claim(since, says, room[:0])
	if len(due) == 0 {
		do, wait = p.idle(since)
		return do, turn{}, wait
	}
	n := int64(len(due))
	t = turn{first: p.number(), due: due, origin: p.origin, before: p.before, says: says, of: p.speak(says), crew: p.crew.send(n)}
	p.before = due[n-1]
	if says.moods != nil {
		t.phases = p.phases
	}
	if p.news && p.before > p.changed {
		p.news, t.news = false, true
	}
	p.total += n
	p.meter.add(p.second(now), n)
	return handOut, t, 0
}

// speak is the stretch of the next events, which begins with them where they
// say something else than the ones before.
func (p *pacer) speak(says *program) stretch {
	if p.says == nil || p.says.hash != says.hash {
		p.breakOff()
		p.says, p.spoke = says, says.sessions
	}
	return p.stretch
}

// breakOff ends the stretch of the events so far.
func (p *pacer) breakOff() {
	if n := p.number() - p.stretch.from; n > 0 {
		p.stretch = stretch{p.number(), p.stretch.sessions + p.spoke.among(n)}
	}
	p.says = nil
}

// show remembers when the first event after a change was handed out.
func (p *pacer) show(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.news { // by a change since
		p.handed = now
	}
}

// claim takes the times of the events of a turn, and their phases where what they
// say depends on them, behind that of the event before.
func (p *pacer) claim(since time.Duration, says *program, room []time.Duration) (due []time.Duration) {
	most := p.room(since, says.most())
	if says.moods == nil {
		return p.player.Take(since, most, room)
	}
	before := ""
	if n := len(p.phases); n > 0 {
		before = p.phases[n-1]
	}
	due, p.phases = p.player.TakeWithPhases(since, most, room, append(p.phases[:0], before))
	return due
}

// room is how many events can be handed out at once now.
func (p *pacer) room(since time.Duration, most int64) int {
	n := most
	if p.count > 0 {
		n = min(n, p.count-p.total)
	}
	return int(min(n, p.crew.free(since)))
}

// idle says how to wait when nothing can be handed out.
func (p *pacer) idle(since time.Duration) (verdict, time.Duration) {
	if p.crew.free(since) == 0 {
		if back, ever := p.crew.back(); ever {
			return sleep, back - since
		}
		return halt, 0
	}
	at, ever := p.player.Wake()
	if !ever {
		return halt, 0
	}
	return sleep, max(at-since, 1)
}

// release gives back the workers of events that are settled, once they have
// thought.
func (p *pacer) release(t *turn, n int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crew.settled(t.crew, int64(n), p.since(now)) {
		p.bell.ring()
	}
}

// follow lets the wall clock's time of the opening move when that clock was
// set, or the machine slept (which the monotonic clock does not count).
// Otherwise every later event would be dated wrong for good. It tolerates a
// second, since the two clocks are not read in the same instant and intended
// times must not jitter.
func (p *pacer) follow(now time.Time, since time.Duration) {
	origin := now.UnixNano() - int64(since)
	if off := time.Duration(origin - p.origin); off.Abs() > time.Second {
		p.origin = origin
	}
}

func (p *pacer) finished(since time.Duration) bool {
	return p.count > 0 && p.total >= p.count || p.running && p.player.Ended(since)
}

// change changes the load from the last tick on, in the order of the calls, and
// tells what for the journal. What is wrong with it is added to the problems
// and changes nothing.
func (p *pacer) change(c load.Change, now time.Time, found *stage.Problems) (e journal.Entry, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.since(now)
	if p.player.Check(c, since, found); firstError(found) != nil {
		return e, nil
	}
	if p.finished(since) {
		return e, errFinished
	}
	if err := p.player.Apply(c, since); err != nil {
		return e, err
	}
	p.changes++
	p.news, p.changed, p.handed = true, p.player.State(since).Since, time.Time{}
	p.bell.ring()
	e = p.entry(c.String(), p.changed)
	e.Change = &c
	return e, nil
}

// clock is a time since the opening as the wall clock had it.
func (p *pacer) clock(since time.Duration) time.Time {
	return time.Unix(0, p.origin+int64(since)).UTC()
}

func (p *pacer) second(now time.Time) int64 { return int64(now.Sub(p.opened) / time.Second) }

// view is what the pacer shows to the API, to metrics and to the live line.
type view struct {
	running bool
	total   int64   // events handed out
	second  int64   // events of the last full second
	average float64 // events/s over the last minute
	// dispersion is that of the last minute; -1: unknown.
	dispersion float64
	offered    float64 // events/s that the load asks for now
	behind     int64   // events that are due and not handed out
	state      load.State
	changed    time.Time // when the last change of the load began to count; zero: there was none
	handed     time.Time // when its first event was handed out; zero: it was not yet
}

func (p *pacer) view(now time.Time) view {
	p.mu.Lock()
	defer p.mu.Unlock()
	second, since := p.second(now), p.since(now)
	v := view{
		running: p.running && !p.finished(since),
		total:   p.total,
		second:  p.meter.last(second),
		average: p.meter.average(second),
		state:   p.player.State(since),
		handed:  p.handed,
	}
	if p.changes > 0 {
		v.changed = p.clock(p.changed)
	}
	v.dispersion = -1
	if d, known := p.meter.dispersion(second); known {
		v.dispersion = d
	}
	switch {
	case !v.running:
	case math.IsInf(v.state.Rate, 1): // it asks for what the route takes, and is never behind
		v.offered = float64(v.second)
	default:
		v.offered, v.behind = v.state.Rate, v.state.Behind
		if p.count > 0 {
			v.behind = min(v.behind, p.count-p.total)
		}
	}
	return v
}
