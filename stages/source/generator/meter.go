package generator

// window is over how many seconds a generator averages its rate.
const window = 60

// meter counts events by the second in which they were handed out. Seconds
// are numbered from when the generator was opened. The zero meter is ready.
type meter struct {
	slots [window + 1]struct{ second, events int64 } // the current second, and the full ones before it
}

// add counts n events in a second.
func (m *meter) add(second, n int64) {
	slot := &m.slots[second%int64(len(m.slots))]
	if slot.second != second { // a turn of the ring ago
		slot.second, slot.events = second, 0
	}
	slot.events += n
}

// last is how many events the last full second had.
func (m *meter) last(second int64) int64 { return m.in(second - 1) }

// average is the rate over the last 60 full seconds, or over as many as there
// have been.
func (m *meter) average(second int64) float64 {
	seconds := min(second, window)
	if seconds == 0 {
		return 0
	}
	var events int64
	for s := second - seconds; s < second; s++ {
		events += m.in(s)
	}
	return float64(events) / float64(seconds)
}

// dispersion is the variance of the counts of the last 60 full seconds, or of
// as many as there have been, divided by their mean: 0 for an even rate, 1 for
// random arrivals that know nothing of each other, more for bursts. false:
// there were not two seconds, or no events.
func (m *meter) dispersion(second int64) (float64, bool) {
	seconds, mean := min(second, window), m.average(second)
	if seconds < 2 || mean == 0 {
		return 0, false
	}
	squares := 0.0
	for s := second - seconds; s < second; s++ {
		off := float64(m.in(s)) - mean
		squares += off * off
	}
	return squares / float64(seconds-1) / mean, true
}

func (m *meter) in(second int64) int64 {
	if second < 0 {
		return 0
	}
	if slot := m.slots[second%int64(len(m.slots))]; slot.second == second {
		return slot.events
	}
	return 0
}
