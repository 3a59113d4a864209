package limiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// lender keeps the purses of a desk filled with leases from Redis. All calls
// are made by one goroutine, those of several keys together. It is also the
// breaker: when calls fail, or take so long that what they bring is of no use,
// the desk goes on by the configured fallback until a probe succeeds.
type lender struct {
	desk     *desk
	client   *goredis.Client
	terms    terms
	script   *goredis.Script
	prefix   string // of the keys in Redis
	instance string
	fallback mode
	cancel   context.CancelFunc
	done     sync.WaitGroup

	// Under the desk's lock.
	due       []*gate // whose purse has to be filled
	lent      []*gate // whose purse holds permits
	stop      func()  // ends the present wait
	number    uint64  // of the last call
	instances int     // that share the limit, by the last account
	counted   time.Duration

	failures int // in a row; only run's
}

// terms are what the leases are about.
type terms struct {
	kind   string        // the algorithm
	limit  int           // permits in a window, or a bucket's size
	window time.Duration // or twice the time in which a bucket fills
	rate   float64       // of a bucket, a second
	hold   time.Duration // how long permits may be used after the call
}

const (
	failuresToOpen = 3
	probeEvery     = time.Second
	safety         = 0.9              // of this process' share of the limit, while Redis is away
	memory         = 10 * time.Second // for which an instance that does not call counts, at least
	callsAtOnce    = 256
)

// interval is the shortest time between two calls when there is nothing to
// gain by a shorter one.
func (t terms) interval() time.Duration { return t.hold / 3 }

// request asks for a purse to be filled. Called under the desk's lock.
func (l *lender) request(g *gate) {
	if g.purse.due {
		return
	}
	g.purse.due = true
	l.due = append(l.due, g)
	if l.stop != nil {
		l.stop()
	}
}

// run makes calls until the context ends.
func (l *lender) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.desk.mu.Lock()
		if l.desk.mode != modeRedis {
			l.desk.mu.Unlock()
			l.probe(ctx)
			continue
		}
		calls, nap := l.collect(l.desk.now())
		wait, stop := context.WithCancel(ctx)
		if len(calls) == 0 {
			l.stop = stop
		}
		l.desk.mu.Unlock()
		if len(calls) > 0 {
			l.make(ctx, calls)
		} else {
			_ = l.desk.clock.Sleep(wait, nap)
		}
		stop()
	}
}

// collect takes the calls that are to be made now, and says when to come back.
// Called under the desk's lock.
func (l *lender) collect(now time.Duration) (calls []*call, nap time.Duration) {
	nap = forever
	kept := l.due[:0]
	for _, g := range l.due {
		p := &g.purse
		at := p.dry
		if p.need == 0 {
			at = max(at, p.sent+l.terms.interval()/2)
		}
		if now < at || len(calls) == callsAtOnce {
			kept = append(kept, g)
			nap = min(nap, max(1, at-now))
			continue
		}
		want := p.wants(now, l.terms.interval(), max(1, l.terms.limit/(4*max(1, p.active))))
		if want == 0 {
			p.due = false
			continue
		}
		calls = append(calls, l.call(g, now, want))
	}
	clear(l.due[len(kept):])
	l.due = kept
	return l.takeBack(now, calls, nap)
}

// takeBack adds a call for each purse whose permits ended unused and that does
// not need any now: others may.
func (l *lender) takeBack(now time.Duration, calls []*call, nap time.Duration) ([]*call, time.Duration) {
	kept := l.lent[:0]
	for _, g := range l.lent {
		at, any := g.purse.ends()
		switch {
		case !any:
			g.purse.lent = false
		case at > now || g.purse.due:
			kept = append(kept, g)
			nap = min(nap, max(l.terms.interval(), at-now))
		default:
			g.purse.lent, g.purse.due = false, true
			calls = append(calls, l.call(g, now, 0))
		}
	}
	clear(l.lent[len(kept):])
	l.lent = kept
	return calls, nap
}

// call prepares a call for a gate, under the desk's lock. What the purse has to
// tell goes with it; should the call fail, Redis counts ended leases in full.
func (l *lender) call(g *gate, now time.Duration, want int) *call {
	p := &g.purse
	if g.here.used(now) == 0 {
		p.epoch, p.owed = "", 0 // nothing that Redis could have forgotten
	}
	l.number++
	c := &call{
		gate: g, key: g.key, number: l.number, want: want, epoch: p.epoch,
		owed: min(p.owed, g.here.used(now)), sent: now, ended: p.ended(now),
	}
	p.sent, p.used = now, 0
	return c
}

// make makes calls together and puts what they bring into the purses.
func (l *lender) make(ctx context.Context, calls []*call) {
	err := l.send(ctx, calls)
	if ctx.Err() != nil {
		return
	}
	l.desk.mu.Lock()
	defer l.desk.mu.Unlock()
	now := l.desk.now()
	for _, c := range calls {
		if answerErr := l.settle(now, c); err == nil {
			err = answerErr
		}
	}
	if took := now - calls[0].sent; err == nil && took > l.terms.hold {
		err = fmt.Errorf("the answer took %v, permits are good for %v", took, l.terms.hold)
	}
	if err == nil {
		l.failures = 0
		return
	}
	if l.failures++; l.failures >= failuresToOpen {
		l.failures = 0
		l.desk.change(l.fallback, err)
	}
}

// settle puts into a purse what its call brought. Called under the desk's lock.
func (l *lender) settle(now time.Duration, c *call) error {
	c.gate.purse.due = false
	defer c.gate.wake()
	p := &c.gate.purse
	r, err := parse(c.reply)
	p.failed = err != nil
	switch {
	case err != nil:
		p.dry = now + l.terms.interval()
		return err
	case r.granted < 0: // Redis has forgotten what we used: tell it, and ask again
		p.epoch, p.owed = "", c.gate.here.used(now)
		if p.owed > 0 {
			l.desk.comeBack(now)
		}
		l.request(c.gate)
		return nil
	}
	p.epoch, p.active = r.epoch, r.active
	p.owed = max(0, p.owed-c.owed)
	p.low = r.granted / 2
	if r.granted > 0 {
		p.leases = append(p.leases, lease{
			number: c.number, sent: c.sent, until: c.sent + r.useBy, permits: r.granted, left: r.granted, mark: r.mark,
		})
	}
	if !p.lent && len(p.leases) > 0 {
		p.lent = true
		l.lent = append(l.lent, c.gate)
	}
	if r.granted < c.want {
		p.more = now + r.retry
		p.dry = max(c.sent+l.terms.interval(), now+min(r.retry, time.Second))
	}
	if r.active >= l.instances || now-l.counted > max(memory, l.terms.window) {
		l.instances, l.counted = r.active, now
	}
	return nil
}

// probe waits a while, then asks Redis the way a call would.
func (l *lender) probe(ctx context.Context) {
	jitter := 0.8 + 0.4*rand.Float64()
	if l.desk.clock.Sleep(ctx, time.Duration(jitter*float64(probeEvery))) != nil {
		return
	}
	c := &call{key: "probe"}
	err := l.send(ctx, []*call{c})
	if err == nil {
		_, err = parse(c.reply)
	}
	if ctx.Err() != nil {
		return
	}
	l.desk.mu.Lock()
	defer l.desk.mu.Unlock()
	if err == nil {
		l.desk.change(modeRedis, nil)
	}
}

// close ends the calls and gives back what is not used, as far as the time
// allows.
func (l *lender) close(ctx context.Context) {
	l.cancel()
	l.done.Wait()
	d := l.desk
	d.mu.Lock()
	now := d.now()
	var calls []*call
	if d.mode == modeRedis {
		d.each(func(g *gate) {
			if len(g.purse.leases) == 0 || len(calls) == callsAtOnce {
				return
			}
			for i := range g.purse.leases {
				g.purse.leases[i].until = now
			}
			calls = append(calls, l.call(g, now, -1))
		})
	}
	d.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	err := l.send(ctx, calls)
	if err != nil && !errors.Is(err, context.Canceled) {
		d.log.Debug("permits were not given back to Redis; they end by themselves", "error", err)
	}
}
