package limiter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace/engine/stage"
)

// desk shares the limit between the batches of a route. Those that cannot go
// on stand in line, one line for each key: only the first in it is served, and
// nobody who comes later is served before it.
type desk struct {
	clock   stage.Clock
	start   time.Time
	patient bool // events over the limit wait
	log     *slog.Logger
	count   func() counter // makes the count of one key
	metrics metrics

	mu      sync.Mutex
	single  *gate // of a limit without keys
	keys    *keys // of a limit by key
	claims  uint64
	waiting int // events in line
	mode    mode
	share   float64 // of the limit that may pass here, in mode local
	broken  error   // Redis refuses, and only a person can mend it
	lender  *lender // nil: the limit is not shared

	returning time.Duration // until when the share holds in mode redis too; 0: it does not
}

// forever is a wait that is ended from outside.
const forever = time.Minute

func (d *desk) gate(key string) *gate {
	g := &gate{key: key, here: d.count()}
	g.here.scale(d.share)
	return g
}

// clear reports whether a gate can be forgotten without any event passing that
// would not pass otherwise. What Redis counts is not forgotten with it.
func (d *desk) clear(g *gate, now time.Duration) bool {
	if len(g.turns) > 0 || g.purse.need > 0 || g.purse.due || g.claim == d.claims {
		return false // claims that wait, or the present one, have found it already
	}
	return d.mode == modeRedis || g.here.used(now) == 0
}

// now is the time since the limiter was opened. It is read under the lock, so
// that the algorithms see time in order.
func (d *desk) now() time.Duration { return d.clock.Now().Sub(d.start) }

// answer is what a claim was told.
type answer struct {
	granted int
	nap     time.Duration // ask again after that; 0: this is the decision
	after   time.Duration // when more may be had, for those who are turned away
}

// ask decides about want events without key, or about those that the claim
// has read: how many of each group may pass now. A patient desk waits until at
// least one may; waited is 0 when that was at once. The error is the
// context's, or says that only a person can help.
func (d *desk) ask(ctx context.Context, c *claim, want int) (a answer, waited time.Duration, err error) {
	d.mu.Lock()
	now := d.now()
	c.groups = c.groups[:0]
	if d.single != nil {
		c.groups = append(c.groups, group{gate: d.single, want: want})
	} else {
		d.claims++
		d.keys.grows = d.mode == modeRedis
		c.sort(d.keys, d.claims, now)
	}
	if a = d.grant(now, c); a.nap == 0 {
		d.mu.Unlock()
		return a, 0, nil
	}
	a, err = d.stand(ctx, c, a, want)
	d.leave(c, want)
	waited = max(1, d.now()-now)
	d.mu.Unlock()
	return a, waited, err
}

// stand waits in line until there is a decision. Called under the lock, which
// it gives up while it waits.
func (d *desk) stand(ctx context.Context, c *claim, a answer, want int) (answer, error) {
	d.waiting += want
	for a.nap > 0 {
		if d.broken != nil {
			return answer{}, d.broken
		}
		d.queue(c)
		wait, stop := context.WithCancel(ctx)
		c.stop = stop
		d.mu.Unlock()
		_ = d.clock.Sleep(wait, a.nap)
		stop()
		d.mu.Lock()
		if err := ctx.Err(); err != nil {
			return answer{}, err
		}
		a = d.grant(d.now(), c)
	}
	return a, nil
}

// queue puts a claim in the lines of the gates that hold it up.
func (d *desk) queue(c *claim) {
	for i := range c.groups {
		g := &c.groups[i]
		if g.counted == 0 {
			g.counted = g.want
			g.gate.purse.need += g.want
		}
		// An ordered claim is held up by one gate at a time, and must not stand
		// before others at gates that it is not at yet.
		if !g.queued && (!c.cutting(d) || i == c.stopped) {
			g.queued = true
			g.gate.turns = append(g.gate.turns, c)
		}
	}
}

func (c *claim) cutting(d *desk) bool { return c.ordered && d.patient && len(c.groups) > 1 }

// leave steps out of all lines, wherever in them. Who is first then has its
// turn.
func (d *desk) leave(c *claim, want int) {
	d.waiting -= want
	for i := range c.groups {
		g := &c.groups[i]
		g.gate.purse.need -= g.counted
		if !g.queued {
			continue
		}
		place := slices.Index(g.gate.turns, c)
		g.gate.turns = slices.Delete(g.gate.turns, place, place+1)
		if place == 0 && len(g.gate.turns) > 0 {
			g.gate.turns[0].stop()
		}
	}
}

// grant decides what of a claim may pass now, and counts it. Either the whole
// decision is made, or nothing is counted.
func (d *desk) grant(now time.Duration, c *claim) answer {
	if d.returning > 0 && now >= d.returning {
		d.returning = 0
		d.rescale(now, 1)
	}
	pending, total := false, 0
	for i := range c.groups {
		g := &c.groups[i]
		total += g.want
		var unsure bool
		g.can, unsure = d.can(now, c, g)
		pending = pending || unsure
	}
	if pending {
		return answer{nap: forever}
	}
	if c.cutting(d) {
		c.cut()
	}
	var a answer
	for i := range c.groups {
		g := &c.groups[i]
		a.granted += g.can
		d.charge(now, g)
	}
	if a.granted == total {
		return a
	}
	a.after = d.after(now, c)
	if d.patient && a.granted == 0 {
		a.nap = a.after
		switch {
		case d.mode == modeRedis && d.returning > 0:
			a.nap = d.lender.terms.interval()
		case d.mode == modeRedis:
			a.nap = forever // an answer of Redis ends it
		}
	}
	return a
}

// can is how many events of a group may pass now. unsure: that is not known
// yet, or not as long as Redis is away.
func (d *desk) can(now time.Duration, c *claim, g *group) (n int, unsure bool) {
	if d.patient && len(g.gate.turns) > 0 && g.gate.turns[0] != c {
		return 0, false
	}
	switch d.mode {
	case modeLocal:
		return g.gate.here.can(now, g.want), false
	case modeOpen:
		return g.want, false
	case modeWaiting:
		return 0, true
	}
	p := &g.gate.purse
	n = p.can(now, g.want)
	if n < g.want || p.held-n < p.low {
		d.lender.request(g.gate)
	}
	unsure = n < g.want && !p.known(now)
	if d.returning > 0 {
		n = min(n, g.gate.here.can(now, g.want))
	}
	return n, unsure
}

func (d *desk) charge(now time.Duration, g *group) {
	if g.can == 0 || d.mode == modeOpen {
		return
	}
	g.gate.here.charge(now, g.can)
	switch {
	case d.mode == modeRedis:
		g.gate.purse.charge(now, g.can)
	case d.lender != nil:
		g.gate.purse.owed += g.can
	}
}

// after is how long until more may pass of what was not granted.
func (d *desk) after(now time.Duration, c *claim) time.Duration {
	soonest := forever
	for i := range c.groups {
		g := &c.groups[i]
		switch {
		case g.can == g.want, d.patient && len(g.gate.turns) > 0 && g.gate.turns[0] != c,
			c.cutting(d) && i != c.stopped:
		case d.mode == modeRedis:
			soonest = min(soonest, g.gate.purse.when(now, g.want-g.can))
		default:
			soonest = min(soonest, g.gate.here.when(now, g.want-g.can))
		}
	}
	return soonest
}

// each calls f with every gate.
func (d *desk) each(f func(*gate)) {
	if d.single != nil {
		f(d.single)
	} else {
		d.keys.all(f)
	}
}

// wake lets everybody ask again who stands at a gate.
func (g *gate) wake() {
	for _, c := range g.turns {
		c.stop()
	}
}

// status is what Status shows.
func (d *desk) status() map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := map[string]any{"waiting": d.waiting, "mode": string(d.mode)}
	if d.lender != nil {
		s["instances"] = d.lender.instances
	}
	if d.single == nil {
		s["keys"] = len(d.keys.gates)
		return s
	}
	s["limit"] = d.single.here.size()
	switch g, now := d.single, d.now(); d.mode {
	case modeRedis:
		g.purse.expire(now)
		s["available"] = g.purse.held
	case modeLocal:
		s["available"] = g.here.can(now, g.here.size())
	}
	return s
}
