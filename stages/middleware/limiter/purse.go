package limiter

import (
	"math"
	"time"
)

// purse holds the permits of one key that Redis has leased to this process. A
// lease may be used for a while after the call that got it was sent; what is
// left then, or when the next call is made, is given back with that call. It
// is an algorithm: what it cannot grant must be fetched first.
type purse struct {
	leases []lease // with permits, or ended and not yet told of
	held   int     // permits that may be used

	epoch string // of Redis' memory, as far as known
	owed  int    // passed while Redis was away, and not yet told

	due    bool          // stands in the list of calls to make, or is being called for
	lent   bool          // stands in the list of those that may have to give back
	need   int           // events that stand in line for permits
	used   int           // permits used since the last call
	sent   time.Duration // when the last call was made
	low    int           // fetch when fewer are held
	dry    time.Duration // until when asking again is in vain
	failed bool          // the last call did: what Redis has is not known
	more   time.Duration // when the server said there would be more
	active int           // instances, by the server's account
}

// lease is what one call got.
type lease struct {
	number      uint64
	sent, until time.Duration
	last        time.Duration // use of a permit, since sent
	permits     int
	left        int
	mark        string
}

func (p *purse) can(now time.Duration, want int) int {
	p.expire(now)
	return min(want, p.held)
}

// charge uses the permits that end first.
func (p *purse) charge(now time.Duration, n int) {
	p.held -= n
	p.used += n
	for i := range p.leases {
		l := &p.leases[i]
		if l.until <= now || l.left == 0 {
			continue
		}
		spent := min(n, l.left)
		l.left -= spent
		l.last = now - l.sent
		if n -= spent; n == 0 {
			return
		}
	}
}

func (p *purse) when(now time.Duration, _ int) time.Duration { return max(1, p.more-now, p.dry-now) }

// known reports whether it is known that Redis has no more to give now.
func (p *purse) known(now time.Duration) bool { return !p.failed && now < p.dry }

// expire takes the permits out of use that were not used in time.
func (p *purse) expire(now time.Duration) {
	held := 0
	for i := range p.leases {
		if l := &p.leases[i]; now < l.until {
			held += l.left
		}
	}
	p.held = held
}

// wants is how many permits to fetch now: what stands in line, and what will
// come until the call after the next, judged by the use since the last, of
// which most is fetched ahead. 0: none are needed.
func (p *purse) wants(now, interval time.Duration, most int) int {
	p.expire(now)
	elapsed := max(time.Millisecond, now-p.sent)
	ahead := math.Ceil(float64(p.used) / elapsed.Seconds() * (2 * interval).Seconds())
	return max(0, p.need+int(min(ahead, float64(most)))-p.held)
}

// ended takes the leases out that will not be used any more.
func (p *purse) ended(now time.Duration) []lease {
	var out []lease
	kept := p.leases[:0]
	for _, l := range p.leases {
		if l.left == 0 || l.until <= now {
			out = append(out, l)
		} else {
			kept = append(kept, l)
		}
	}
	p.leases = kept
	return out
}

// empty forgets all permits. Redis counts them until they end.
func (p *purse) empty() {
	*p = purse{epoch: p.epoch, owed: p.owed, need: p.need, active: p.active, lent: p.lent}
}

// ends is when permits end that are not used by then; false: there are none.
func (p *purse) ends() (at time.Duration, any bool) {
	for i := range p.leases {
		if l := &p.leases[i]; l.left > 0 && (!any || l.until < at) {
			at, any = l.until, true
		}
	}
	return at, any
}
