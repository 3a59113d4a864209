package limiter

import "time"

// Into how many parts a window is cut at the finest. Grants closer together
// than one part are remembered as one, at the time of the later: the earlier
// come free up to that part of the window late, never early. It bounds the log
// at about so many entries whatever the rate. Of limits by key there may be
// many: they are coarser.
const (
	grains      = 4000
	grainsOfKey = 100
)

// window is an exact sliding window: over any half-open stretch of time as long
// as the window, at most limit events are granted. It keeps a log of the grants
// that are younger than the window.
type window struct {
	limit  int
	length time.Duration
	grain  time.Duration

	whole struct { // what scale is about
		limit  int
		length time.Duration
	}

	charged int     // weight of all grants in the log
	log     []grant // a ring; its length is a power of two
	head    int     // index of the oldest grant
	n       int     // grants in the ring
}

// grant is a number of events let through between two times.
type grant struct {
	from, to time.Duration
	weight   int
}

func newWindow(limit int, length time.Duration, grains int) *window {
	w := &window{limit: limit, length: length, grain: length / time.Duration(grains), log: make([]grant, 4)}
	w.whole.limit, w.whole.length = limit, length
	return w
}

func (w *window) can(now time.Duration, want int) int {
	w.expire(now)
	return max(0, min(want, w.limit-w.charged))
}

func (w *window) when(now time.Duration, _ int) time.Duration {
	w.expire(now)
	if w.n == 0 {
		return 1
	}
	return w.log[w.head].to + w.length - now
}

func (w *window) used(now time.Duration) int {
	w.expire(now)
	return w.charged
}

func (w *window) size() int { return w.limit }

func (w *window) scale(part float64) {
	w.limit, w.length = w.whole.limit, w.whole.length
	if part < 1 {
		w.limit, w.length = share(w.limit, w.length, part)
	}
}

// expire forgets the grants that have left the window. Each is forgotten once,
// so that a decision costs O(1) on average.
func (w *window) expire(now time.Duration) {
	for w.n > 0 && w.log[w.head].to+w.length <= now {
		w.charged -= w.log[w.head].weight
		w.head = (w.head + 1) & (len(w.log) - 1)
		w.n--
	}
}

func (w *window) charge(now time.Duration, weight int) {
	w.charged += weight
	if w.n > 0 {
		last := &w.log[(w.head+w.n-1)&(len(w.log)-1)]
		if now-last.from <= w.grain {
			last.to = now
			last.weight += weight
			return
		}
	}
	if w.n == len(w.log) {
		w.grow()
	}
	w.log[(w.head+w.n)&(len(w.log)-1)] = grant{now, now, weight}
	w.n++
}

func (w *window) grow() {
	bigger := make([]grant, 2*len(w.log))
	kept := copy(bigger, w.log[w.head:])
	copy(bigger[kept:], w.log[:w.head])
	w.log, w.head = bigger, 0
}
