package poison

import "millrace/engine/event"

// ReplaysOf is how often an event was replayed, this time included: the
// attribute Replays, also as text, which is what a schema with text attributes
// only makes of it on its way through a topic.
func ReplaysOf(e *event.Event) int {
	v, ok := e.Attribute(Replays)
	switch {
	case !ok:
		return 0
	case v.Kind() == event.KindInt:
		return int(max(0, min(v.Int(), maxReplays)))
	case v.Kind() == event.KindString:
		return min(count(v.Str()), maxReplays)
	}
	return 0
}

// maxReplays keeps what others write into a record from overflowing.
const maxReplays = 1 << 30

// SetReplays reads a ReplayHeader. An event that knows of more replays keeps
// its own count.
func SetReplays(e *event.Event, header []byte) {
	if n := min(count(string(header)), maxReplays); n > ReplaysOf(e) {
		e.SetAttribute(Replays, event.Int(int64(n)))
	}
}
