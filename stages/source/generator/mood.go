package generator

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// mood is what the content is like in a phase of the load.
type mood struct {
	pick                       alias // among the lines
	malformed, duplicate, late uint64
}

// maxDuplicates is how many events can repeat the one before: an event that
// does is not repeated, and chance must bring the others.
const maxDuplicates = 0.25

func newMood(c Content) mood {
	// An event repeats the one before if the dice say so for it, and not for
	// that: p(1-p) is to be the ratio.
	p := (1 - math.Sqrt(max(1-4*float64(c.DuplicateRatio), 0))) / 2
	return mood{malformed: part(float64(c.MalformedRatio)), duplicate: part(p), late: part(float64(c.LateRatio))}
}

// checkRatios reports ratios that cannot be.
func (c Content) checkRatios(at string, p *stage.Problems) {
	for _, r := range []struct {
		key       string
		got, most stage.Percent
	}{
		{"malformed_ratio", c.MalformedRatio, 1}, {"duplicate_ratio", c.DuplicateRatio, maxDuplicates}, {"late_ratio", c.LateRatio, 1},
	} {
		if !(r.got >= 0 && r.got <= r.most) {
			p.Add(at+r.key, "must be between 0%% and %v, got %v", r.most, r.got)
		}
	}
}

// with is the content as it is in a phase.
func (c Content) with(o Override) Content {
	for to, from := range map[*stage.Percent]*stage.Percent{
		&c.MalformedRatio: o.MalformedRatio, &c.DuplicateRatio: o.DuplicateRatio, &c.LateRatio: o.LateRatio,
	} {
		if from != nil {
			*to = *from
		}
	}
	return c
}

// addMoods makes the moods of the phases.
func (prog *program) addMoods(c Content, mixes map[string]map[event.Level]float64, w *weigh) {
	c.checkRatios("content.", w.p)
	if c.LateBy < 0 {
		w.p.Add("content.late_by", "must be above 0, got %v", c.LateBy)
	}
	for _, phase := range slices.Sorted(maps.Keys(c.Phases)) {
		o, at := c.Phases[phase], "content.phases."+phase+"."
		of := Content{}.with(o)
		of.checkRatios(at, w.p)
		m := newMood(c.with(o))
		m.pick = w.pick(at+"levels", mixes[phase], len(o.Levels) > 0)
		if prog.moods == nil {
			prog.moods = map[string]*mood{}
		}
		prog.moods[phase] = &m
	}
}

// mood is that of a phase.
func (prog *program) mood(phase string) *mood {
	if m := prog.moods[phase]; m != nil {
		return m
	}
	return &prog.usual
}

// burst is when there are errors.
type burst struct {
	every, length, from uint64
	share               uint64
	pick                alias
}

func newBurst(c ErrorBurst, base uint64, w *weigh) burst {
	at := "content.error_burst."
	share := stage.Percent(0.8)
	if c.Share != nil {
		share = *c.Share
	}
	length := cmp.Or(c.Length, max(c.Every/10, 1))
	switch {
	case c == ErrorBurst{}:
		return burst{}
	case c.Every <= 0:
		w.p.Add(at+"every", "must be above 0 for bursts, got %d", c.Every)
		return burst{}
	case length < 0 || length > c.Every:
		w.p.Add(at+"length", "must be between 1 and every, which is %d, got %d", c.Every, c.Length)
	case !(share >= 0 && share <= 1):
		w.p.Add(at+"share", "must be between 0%% and 100%%, got %v", share)
	}
	return burst{
		every: uint64(c.Every), length: uint64(length), from: below(mix(base^saltBurst), uint64(c.Every)),
		share: part(float64(share)), pick: w.pick("content.error_burst", map[event.Level]float64{event.LevelError: 1}, true),
	}
}

// hits tells whether the burst makes an event an error.
func (b *burst) hits(i int64, k key) bool {
	return (uint64(i)+b.from)%b.every < b.length && k.draw(saltBurst) < b.share
}

// spoil breaks what was written from start on, so that the parser of its format
// refuses it.
func (s *scribe) spoil(format string, start int) {
	line := s.buf[start:]
	switch format {
	case formatLogfmt: // half a line of it may be whole; a quotation mark in a key is none
		s.buf = s.buf[:start+len(line)/2]
		s.buf[start] = '"'
	case formatRFC5424: // without the < of its priority
		copy(line, line[1:])
		s.buf = s.buf[:start+len(line)-1]
	case formatText: // in the middle, but before its first text in quotation marks
		end := len(line) / 2
		if quote := bytes.IndexByte(line, '"'); quote > 0 {
			end = min(end, quote)
		}
		s.buf = s.buf[:start+end]
	case formatJSON:
		s.buf = s.buf[:start+len(line)/2]
	default:
		s.buf = append(s.buf[:start+len(line)/2], 0xff, 0xfe)
	}
}

// flaws counts the events that are not as they should be.
type flaws struct {
	malformed, duplicates, late int64
}

// tally adds flaws up, for all threads.
type tally struct {
	malformed, duplicates, late atomic.Int64
}

func (t *tally) add(f flaws) {
	if f != (flaws{}) {
		t.malformed.Add(f.malformed)
		t.duplicates.Add(f.duplicates)
		t.late.Add(f.late)
	}
}

// What else is drawn for an event.
var (
	saltMalformed = saltOf("malformed")
	saltDuplicate = saltOf("duplicate")
	saltLate      = saltOf("late")
	saltLateBy    = saltOf("late by")
	saltBurst     = saltOf("burst")
)
