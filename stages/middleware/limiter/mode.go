package limiter

import (
	"time"

	"millrace/engine/stage"
	"millrace/stages/resource/redis"
)

// mode is where the limit is counted at the time, as metrics and Status show.
type mode string

const (
	modeLocal   mode = "local"   // in this process
	modeRedis   mode = "redis"   // in Redis
	modeWaiting mode = "waiting" // nowhere: events wait until Redis is back
	modeOpen    mode = "open"    // nowhere: all events pass until Redis is back
)

var modes = []mode{modeLocal, modeRedis, modeWaiting, modeOpen}

// while says in a log line what a mode means.
var while = map[mode]string{
	modeLocal:   "Redis is away: this process counts its share of the limit itself",
	modeRedis:   "Redis is back: the limit is shared again",
	modeWaiting: "Redis is away: events wait",
	modeOpen:    "Redis is away: events pass without a limit",
}

// change goes over to another mode, because of an error or, back to Redis, of
// none. Permits are dropped; what passed by this process' own count is owed
// and told to Redis when it is back. Everybody asks again. Called under the
// lock, from the lender's goroutine.
func (d *desk) change(m mode, why error) {
	d.mode, d.broken, d.returning = m, nil, 0
	why = redis.Classify(why)
	if m == modeWaiting && stage.ClassOf(why) == stage.Unfixable {
		d.broken = why
	}
	d.lender.due = nil
	now := d.now()
	d.each(func(g *gate) {
		g.purse.empty()
		g.wake()
	})
	switch m {
	case modeLocal:
		d.rescale(now, safety/float64(max(1, d.lender.instances)))
	case modeRedis:
		d.comeBack(now)
	}
	d.metrics.show(m)
	if why == nil {
		d.log.Info(while[m], "mode", string(m))
		return
	}
	d.log.Warn(while[m], "mode", string(m), "instances", d.lender.instances, "error", why)
}

// comeBack begins a short time in which the limit of Redis and this process'
// share of it hold both: Redis, or its memory, was away, and it knows what all
// instances used only when all have called again.
func (d *desk) comeBack(now time.Duration) {
	d.returning = now + 2*probeEvery
	d.rescale(now, safety/float64(max(1, d.lender.instances)))
}

// rescale makes what this process counts a share of the limit.
func (d *desk) rescale(now time.Duration, part float64) {
	d.share = part
	d.each(func(g *gate) {
		g.here.used(now) // what is over is over before the measure changes
		g.here.scale(part)
	})
}
