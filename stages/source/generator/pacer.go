package generator

import (
	"sync"
	"time"
)

// pacer decides which events are handed out when: the schedule, and the
// switch of the API. It is told the time and never looks at a clock. Safe for
// concurrent use: Read takes, the API switches, everybody looks.
type pacer struct {
	schedule schedule
	count    int64 // events in all; 0: endless
	most     int64 // events in one turn
	opened   time.Time

	mu      sync.Mutex
	running bool
	began   time.Time     // of the running schedule
	origin  int64         // the same moment by the wall clock, in Unix nanoseconds
	taken   int64         // events of the running schedule handed out
	total   int64         // events handed out ever; the number of the next one
	meter   meter         // of what was handed out
	resumed chan struct{} // closed by start; replaced by stop
}

func newPacer(rate Rate, count, most int64, now time.Time) *pacer {
	return &pacer{schedule: schedule{rate}, count: count, most: most, opened: now, resumed: make(chan struct{})}
}

// turn is a run of events to hand out now.
type turn struct {
	first  int64 // number of its first event, counted from 0 since the generator was opened
	n      int
	place  int64 // of its first event in the schedule
	origin int64 // when the schedule began, in Unix nanoseconds
}

// start begins a schedule at now; a generator that runs is left alone.
func (p *pacer) start(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return
	}
	p.running, p.began, p.origin, p.taken = true, now, now.UnixNano(), 0
	close(p.resumed)
}

// stop ends the schedule: what was due and not taken is not offered any more.
func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return
	}
	p.running = false
	p.resumed = make(chan struct{})
}

// verdict is what a Read has to do.
type verdict uint8

const (
	handOut verdict = iota // the turn
	sleep                  // for the wait, then ask again
	halt                   // until resumed, then ask again
	finish                 // all of count was handed out
)

// take claims the events that are due. When there are none it says how long
// it is until there will be, at a tick.
func (p *pacer) take(now time.Time) (do verdict, t turn, wait time.Duration, resumed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.finished():
		return finish, turn{}, 0, nil
	case !p.running:
		return halt, turn{}, 0, p.resumed
	}
	elapsed := now.Sub(p.began)
	p.follow(now, elapsed)
	n := min(p.behind(elapsed), p.most)
	if n <= 0 {
		return sleep, turn{}, ceil(p.schedule.at(p.taken)) - elapsed, nil
	}
	t = turn{first: p.total, n: int(n), place: p.taken, origin: p.origin}
	p.taken += n
	p.total += n
	p.meter.add(p.second(now), n)
	return handOut, t, 0, nil
}

// follow lets the wall clock's time of the beginning move when that clock was
// set, or the machine slept (which the monotonic clock does not count).
// Otherwise every later event would be dated wrong for good. It tolerates a
// second, since the two clocks are not read in the same instant and intended
// times must not jitter.
func (p *pacer) follow(now time.Time, elapsed time.Duration) {
	if p.schedule.rate.IsMax() { // nothing has a time of its own: due is when it is taken
		p.origin = now.UnixNano()
		return
	}
	origin := now.UnixNano() - int64(elapsed)
	if off := time.Duration(origin - p.origin); off.Abs() > time.Second {
		p.origin = origin
	}
}

// behind is how many events are due at the last tick and not handed out.
func (p *pacer) behind(elapsed time.Duration) int64 {
	n := p.schedule.due(elapsed.Truncate(tick)) - p.taken
	if p.count > 0 {
		n = min(n, p.count-p.total)
	}
	return max(n, 0)
}

func (p *pacer) finished() bool { return p.count > 0 && p.total >= p.count }

func (p *pacer) second(now time.Time) int64 { return int64(now.Sub(p.opened) / time.Second) }

// ceil is the tick at or after d.
func ceil(d time.Duration) time.Duration { return (d + tick - 1).Truncate(tick) }

// view is what the pacer shows to the API, to metrics and to the live line.
type view struct {
	running bool
	total   int64   // events handed out
	second  int64   // events of the last full second
	average float64 // events/s over the last minute
	offered float64 // events/s that the schedule asks for now
	behind  int64   // events that are due and not handed out
}

func (p *pacer) view(now time.Time) view {
	p.mu.Lock()
	defer p.mu.Unlock()
	second := p.second(now)
	v := view{
		running: p.running && !p.finished(),
		total:   p.total,
		second:  p.meter.last(second),
		average: p.meter.average(second),
	}
	switch {
	case !v.running:
	case p.schedule.rate.IsMax(): // it asks for what the route takes, and is never behind
		v.offered = float64(v.second)
	default:
		v.offered, v.behind = float64(p.schedule.rate), p.behind(now.Sub(p.began))
	}
	return v
}
