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

func (m *meter) in(second int64) int64 {
	if second < 0 {
		return 0
	}
	if slot := m.slots[second%int64(len(m.slots))]; slot.second == second {
		return slot.events
	}
	return 0
}
