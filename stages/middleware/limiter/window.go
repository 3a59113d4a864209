package limiter

import "time"

// grains is into how many parts a window is cut at the finest. Grants closer
// together than one part are remembered as one, at the time of the later: the
// earlier come free up to 1/4000 of the window late, never early. It bounds
// the log at about 4000 entries whatever the rate.
const grains = 4000

// window is an exact sliding window: over any half-open stretch of time as long
// as the window, at most limit events are granted. It keeps a log of the grants
// that are younger than the window. It reads no clock and takes no lock.
type window struct {
	limit  int
	length time.Duration
	grain  time.Duration

	used int     // weight of all grants in the log
	log  []grant // a ring; its length is a power of two
	head int     // index of the oldest grant
	n    int     // grants in the ring
}

// grant is a number of events let through between two times.
type grant struct {
	from, to time.Duration
	weight   int
}

func newWindow(limit int, length time.Duration) *window {
	return &window{limit: limit, length: length, grain: length / grains, log: make([]grant, 16)}
}

// take grants up to want events now. What is missing may come after wait.
func (w *window) take(now time.Duration, want int) (granted int, wait time.Duration) {
	w.expire(now)
	granted = min(want, w.limit-w.used)
	if granted > 0 {
		w.add(now, granted)
	}
	if granted < want {
		wait = w.log[w.head].to + w.length - now
	}
	return granted, wait
}

// free is how many events would be granted now.
func (w *window) free(now time.Duration) int {
	w.expire(now)
	return w.limit - w.used
}

func (w *window) size() int { return w.limit }

// expire forgets the grants that have left the window. Each is forgotten once,
// so that a decision costs O(1) on average.
func (w *window) expire(now time.Duration) {
	for w.n > 0 && w.log[w.head].to+w.length <= now {
		w.used -= w.log[w.head].weight
		w.head = (w.head + 1) & (len(w.log) - 1)
		w.n--
	}
}

func (w *window) add(now time.Duration, weight int) {
	w.used += weight
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
