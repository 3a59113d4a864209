package poison

import "millrace/engine/event"

// maxReplays keeps what others write into a record from overflowing.
const maxReplays = 1 << 30

// SetReplays says how often an event was replayed, this time included: to those
// who guard by it, and in the attribute Replays, for people and for rules.
func SetReplays(e *event.Event, n int) {
	if n = min(n, maxReplays); n > 0 {
		e.Replays = int32(n)
		e.SetAttribute(Replays, event.Int(int64(n)))
	}
}

// ReadReplays is SetReplays with what a ReplayHeader says. An event that knows
// of more replays keeps its own count.
func ReadReplays(e *event.Event, header string) {
	if n := count(header); n > int(e.Replays) {
		SetReplays(e, n)
	}
}
