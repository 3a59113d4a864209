package generator

import (
	"millrace/engine/event"
	"millrace/engine/stage"
)

// sessions deals the events out to sessions: what belongs together because one
// user did one thing, and shares correlation id, trace id, user and request.
// Events fall into windows of atOnce sessions and events times as many events;
// within its window, each event is dealt to one of the sessions at random. So
// the session of an event is a function of its number, found without looking
// at other events, and sessions are interleaved as they are in real logs.
type sessions struct {
	atOnce, window uint64
	base           uint64 // the seed, mixed
}

func newSessions(c Sessions, seed int64) sessions {
	c = c.orDefault()
	if c.Events == 1 {
		c.AtOnce = 1 // each event is on its own
	}
	return sessions{uint64(c.AtOnce), uint64(c.AtOnce) * uint64(c.Events), mix(baseOf(seed) ^ saltSession)}
}

// of is the number of an event's session, and its place among those of its
// window. Numbers rise from window to window.
func (s sessions) of(i int64, k key) (number, place uint64) {
	if s.window == 1 {
		return uint64(i), 0
	}
	place = below(k.draw(saltSession), s.atOnce)
	return uint64(i)/s.window*s.atOnce + place, place
}

// among is how many sessions the first n events fall into, or somewhat more.
func (s sessions) among(n int64) uint64 {
	return (uint64(n) + s.window - 1) / s.window * s.atOnce
}

// stretch is a run of events with the same content: its first event, and how
// many sessions there were before it. Another content begins sessions of its
// own, and their numbers go on from there: no session comes again, however many
// events one has.
type stretch struct {
	from     int64
	sessions uint64
}

// key is what everything that a session shares is made from.
func (s sessions) key(number uint64) key { return key(mix(s.base + number*golden)) }

// firstCorrelation is the time that the first session's id carries: the
// beginning of 2025, in milliseconds.
const firstCorrelation = 1_735_689_600_000

// correlation makes the two halves of a session's correlation id, laid out as
// a UUIDv7: where a clock would be, 60 bits count the sessions, the others are
// random. Ids that rise keep an index local: the four events or so of a
// session, and the sessions beside it, meet in the same page, while an index
// on wholly random ids touches another page for every row, which doubles what
// a row costs a database. They come from the seed and not from a clock, so
// that runs repeat.
func (s sessions) correlation(number uint64, k key) (high, low uint64) {
	n := firstCorrelation<<12 + number
	high = n<<4&^0xffff | 7<<12 | n&0xfff
	return high, k.draw(saltCorrelation)&^(3<<62) | 1<<63
}

// session is what the events of one session share, with its texts in the
// arena of the thread that met it.
type session struct {
	round  uint64 // of the scribe, in which the rest was written
	number uint64
	ids    string // correlation id and trace id
	values []event.Value
	texts  []string

	organisation string
}

// idsLength is how long a correlation id and a trace id are together.
const idsLength = 36 + 32

// scribe writes the events of a parcel that fall to one thread. It remembers
// the sessions it has met, since most events belong to one of those.
type scribe struct {
	buf   []byte
	round uint64
	met   []session // by place
	prog  *program
	of    stretch

	stamps stamps
	counts flaws // of this parcel
	size   int   // of its events in this parcel

	distinct *distinct // sessions, of all scribes
}

// begin forgets the texts of the parcel before.
func (s *scribe) begin(prog *program, of stretch) {
	s.round++
	s.buf, s.of = s.buf[:0], of
	s.counts = flaws{}
	if s.prog != prog {
		s.prog = prog
		s.met = make([]session, prog.sessions.atOnce)
		width := len(prog.shared)
		values, texts := make([]event.Value, len(s.met)*width), make([]string, len(s.met)*width)
		for i := range s.met {
			s.met[i].values, s.met[i].texts = values[i*width:(i+1)*width], texts[i*width:(i+1)*width]
		}
	}
}

// session is that of an event.
func (s *scribe) session(prog *program, i int64, k key) *session {
	number, place := prog.sessions.of(i-s.of.from, k)
	number += s.of.sessions
	m := &s.met[place]
	if m.number != number || m.round != s.round {
		s.meet(prog, m, number)
	}
	return m
}

// meet writes what the events of a session share.
func (s *scribe) meet(prog *program, m *session, number uint64) {
	k := prog.sessions.key(number)
	m.number, m.round = number, s.round
	s.distinct.add(uint64(k))
	start := len(s.buf)
	high, low := prog.sessions.correlation(number, k)
	s.buf = appendUUID(s.buf, high, low)
	s.buf = appendHex(s.buf, k.draw(saltTrace), 32)
	m.ids = text(s.buf, start)
	if prog.organisations != nil {
		m.organisation = prog.organisations[prog.belong.draw(k.draw(saltOrg))]
	}
	for j, f := range prog.shared {
		start = len(s.buf)
		s.buf = f.append(s.buf, k, int64(number))
		m.texts[j] = text(s.buf, start)
		m.values[j] = f.valueOf(m.texts[j], k, int64(number))
	}
}

// Sessions is how events that belong together are interleaved.
type Sessions struct {
	// Events is how many events a session has on average. Default 4; 1 gives each event a session of its own.
	Events int `yaml:"events"`
	// AtOnce is how many sessions are under way side by side. Default 8.
	AtOnce int `yaml:"at_once"`
}

// maxSession bounds the window, and with it what a thread remembers.
const maxSession = 1000

func (c Sessions) check(p *stage.Problems) {
	c = c.orDefault()
	if c.Events < 1 || c.Events > maxSession {
		p.Add("content.sessions.events", "must be between 1 and %d, got %d", maxSession, c.Events)
	}
	if c.AtOnce < 1 || c.AtOnce > maxSession {
		p.Add("content.sessions.at_once", "must be between 1 and %d, got %d", maxSession, c.AtOnce)
	}
}

func (c Sessions) orDefault() Sessions {
	if c.Events == 0 {
		c.Events = 4
	}
	if c.AtOnce == 0 {
		c.AtOnce = 8
	}
	return c
}
