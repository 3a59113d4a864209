package circuit

import "time"

// totals are the calls that a window remembers.
type totals struct {
	calls, failed, slow, slowFailed int
}

func (t *totals) add(o totals, sign int) {
	t.calls += sign * o.calls
	t.failed += sign * o.failed
	t.slow += sign * o.slow
	t.slowFailed += sign * o.slowFailed
}

// one is a single call.
func one(failed, slow bool) totals {
	t := totals{calls: 1}
	if failed {
		t.failed = 1
	}
	if slow {
		t.slow = 1
	}
	if failed && slow {
		t.slowFailed = 1
	}
	return t
}

// tally remembers recent calls: the last so many, or those of the last so many
// seconds.
type tally interface {
	record(now time.Duration, failed, slow bool)
	totals(now time.Duration) totals
}

// lastCalls remembers the last len(ring) calls.
type lastCalls struct {
	ring  []uint8 // failed: bit 0, slow: bit 1
	next  int
	total totals
}

func newLastCalls(n int) *lastCalls { return &lastCalls{ring: make([]uint8, n)} }

func (l *lastCalls) record(_ time.Duration, failed, slow bool) {
	if l.total.calls == len(l.ring) {
		old := l.ring[l.next]
		l.total.add(one(old&1 != 0, old&2 != 0), -1)
	}
	var bits uint8
	if failed {
		bits |= 1
	}
	if slow {
		bits |= 2
	}
	l.ring[l.next] = bits
	l.next = (l.next + 1) % len(l.ring)
	l.total.add(one(failed, slow), 1)
}

func (l *lastCalls) totals(time.Duration) totals { return l.total }

// lastSeconds remembers the calls of the current second and of the
// len(ring)-1 before it, in one bucket per second.
type lastSeconds struct {
	ring   []totals
	second int64 // the one that ring[second % len(ring)] belongs to
	total  totals
}

func newLastSeconds(n int) *lastSeconds { return &lastSeconds{ring: make([]totals, n)} }

func (l *lastSeconds) record(now time.Duration, failed, slow bool) {
	l.move(now)
	call := one(failed, slow)
	l.ring[l.second%int64(len(l.ring))].add(call, 1)
	l.total.add(call, 1)
}

func (l *lastSeconds) totals(now time.Duration) totals {
	l.move(now)
	return l.total
}

// move forgets the seconds that have left the window since the last call.
func (l *lastSeconds) move(now time.Duration) {
	second, size := int64(now/time.Second), int64(len(l.ring))
	for s := max(l.second+1, second-size+1); s <= second; s++ {
		bucket := &l.ring[s%size]
		l.total.add(*bucket, -1)
		*bucket = totals{}
	}
	l.second = max(l.second, second)
}
