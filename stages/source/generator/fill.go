package generator

import (
	"math"

	"millrace/engine/event"
)

// measure finds how much text one event can need.
func (prog *program) measure() {
	message := 0
	for _, l := range prog.lines {
		n := 0
		for i := range l.pieces {
			n += l.pieces[i].longest(prog)
		}
		message = max(message, n)
	}
	prog.longest = message + idsLength + spanLength + int(prog.payload.most)
	for _, f := range prog.attributes {
		prog.longest += f.longest()
	}
	for _, f := range prog.shared {
		prog.longest += f.longest()
	}
}

func (p *piece) longest(prog *program) int {
	const name = 64 // of a source or the like; longer ones hardly matter
	switch {
	case p.field != nil:
		return len(p.text) + p.field.longest()
	case p.own == ownPayload:
		return len(p.text) + int(prog.payload.most)
	default:
		return len(p.text) + name
	}
}

// inFields tells whether events say what they say in their fields, and not in
// a line.
func (prog *program) inFields() bool { return prog.format == formatEvent }

// width is how many attributes each event has.
func (prog *program) width() int {
	switch {
	case !prog.inFields():
		return 0
	case prog.payload.some():
		return len(prog.attributes) + 1
	default:
		return len(prog.attributes)
	}
}

// spanLength is that of a span id.
const spanLength = 16

// telling is one event while it is written.
type telling struct {
	i     int64
	at    int64 // when it happened, in Unix nanoseconds
	k     key
	of    *session
	place *place
	level event.Level
	span  string
}

// fill makes the content of event number i, which happened at a time in Unix
// nanoseconds: everything but its id and times. Text goes to the scribe's
// arena; attributes has room for width().
func (prog *program) fill(e *event.Event, i, at int64, m *mood, s *scribe, attributes []event.Attribute) {
	k := keyOf(prog.base, i)
	l := &prog.lines[prog.line(m, i, k)]
	t := telling{i: i, at: at, k: k, of: s.session(prog, i, k), place: l.place(k.draw(saltPlace)), level: l.level}
	start := len(s.buf)
	s.buf = appendHex(s.buf, k.draw(saltSpan), spanLength)
	t.span = text(s.buf, start)

	start = len(s.buf)
	prog.say(l, &t, s)
	if m.malformed > 0 && k.draw(saltMalformed) < m.malformed {
		s.spoil(prog.format, start)
		s.counts.malformed++
	}
	message := text(s.buf, start)
	if !prog.inFields() {
		*e = event.Event{Offset: i, Message: message}
		return
	}
	prog.tell(attributes, &t, s)

	// The whole struct is written: what stages left in it the last time goes.
	*e = event.Event{
		Offset:        i,
		Level:         l.level,
		Source:        t.place.source,
		Host:          t.place.host,
		Message:       message,
		CorrelationID: t.of.ids[:36],
		TraceID:       t.of.ids[36:],
		SpanID:        t.span,
		Organisation:  t.of.organisation,
		Attributes:    attributes,
	}
}

// line picks the line of an event.
func (prog *program) line(m *mood, i int64, k key) int {
	pick := &m.pick
	if prog.burst.every > 0 && prog.burst.hits(i, k) {
		pick = &prog.burst.pick
	}
	return pick.draw(k.draw(saltLine))
}

func (l *line) place(x uint64) *place {
	if l.pick.keep != nil {
		return &l.places[l.pick.draw(x)]
	}
	return &l.places[below(x, uint64(len(l.places)))]
}

// say writes the message, or the whole line.
func (prog *program) say(l *line, t *telling, s *scribe) {
	for j := range l.pieces {
		p := &l.pieces[j]
		s.buf = append(s.buf, p.text...)
		switch {
		case p.field == nil:
			if p.own != nothing {
				prog.append(p.own, t, s)
			}
		case p.field.shared > 0:
			s.buf = append(s.buf, t.of.texts[p.field.shared-1]...)
		default:
			s.buf = p.field.append(s.buf, t.k, t.i)
		}
	}
}

// append writes what an event has of its own.
func (prog *program) append(o trait, t *telling, s *scribe) {
	switch o {
	case ownTime:
		s.buf = s.stamps.appendTime(s.buf, t.at)
	case ownClock:
		s.buf = s.stamps.appendClock(s.buf, t.at)
	case ownLevel:
		s.buf = append(s.buf, t.level.String()...)
	case ownSource:
		s.buf = append(s.buf, t.place.source...)
	case ownHost:
		s.buf = append(s.buf, t.place.host...)
	case ownCorrelation:
		s.buf = append(s.buf, t.of.ids[:36]...)
	case ownTrace:
		s.buf = append(s.buf, t.of.ids[36:]...)
	case ownSpan:
		s.buf = append(s.buf, t.span...)
	case ownOrganisation:
		s.buf = append(s.buf, t.of.organisation...)
	case ownPayload:
		s.buf = appendWords(s.buf, t.k.draw(saltPayload), prog.payload.draw(t.k.draw(saltSize)))
	}
}

// tell makes the metadata.
func (prog *program) tell(attributes []event.Attribute, t *telling, s *scribe) {
	for j, f := range prog.attributes {
		a := &attributes[j]
		a.Key = f.name
		if f.shared > 0 {
			a.Value = t.of.values[f.shared-1]
			continue
		}
		a.Value, s.buf = f.value(s.buf, t.k, t.i)
	}
	if prog.payload.some() {
		start := len(s.buf)
		prog.append(ownPayload, t, s)
		attributes[len(prog.attributes)] = event.Attribute{Key: payloadName, Value: event.String(text(s.buf, start))}
	}
}

// repeats tells whether event number i is the one before once more. An event
// that repeats is never repeated itself.
func (prog *program) repeats(m *mood, i int64) bool {
	return m.duplicate > 0 && i > 0 &&
		keyOf(prog.base, i).draw(saltDuplicate) < m.duplicate && keyOf(prog.base, i-1).draw(saltDuplicate) >= m.duplicate
}

// lateness is by how many nanoseconds event number i happened before it comes.
func (prog *program) lateness(m *mood, i int64) int64 {
	if m.late == 0 {
		return 0
	}
	k := keyOf(prog.base, i)
	if k.draw(saltLate) >= m.late {
		return 0
	}
	return int64(below(k.draw(saltLateBy), prog.lateBy)) + 1
}

// part is a share as a bound for random bits.
func part(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(share*(1<<63)) << 1
}
