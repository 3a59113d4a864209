package generator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// program is Content ready to make events: names resolved, messages cut at
// their placeholders, weights in tables. Nothing of it changes afterwards, so
// that many goroutines may make events with it.
type program struct {
	base       uint64 // the seed, mixed
	sessions   sessions
	lines      []line
	pick       alias    // among lines
	attributes []*field // the metadata, by name
	shared     []*field // what the events of a session share, by name
	payload    Sizes
	longest    int // bytes of text that one event can need
}

// line is one message at one level.
type line struct {
	level  event.Level
	places []place
	pieces []piece
}

// place is where an event comes from.
type place struct {
	source, host string
}

// piece is a stretch of fixed text and the field after it; nil at the end.
type piece struct {
	text  string
	field *field
}

// hostsPerSource is on how many hosts each service is made to run.
const hostsPerSource = 4

// Names of what is drawn for an event besides its fields.
var (
	saltLine        = saltOf("line")
	saltPlace       = saltOf("place")
	saltSession     = saltOf("session")
	saltCorrelation = saltOf("correlation id")
	saltTrace       = saltOf("trace id")
	saltSpan        = saltOf("span id")
	saltSize        = saltOf("payload size")
	saltPayload     = saltOf("payload")
)

// payloadName is the attribute that a payload is put in.
const payloadName = "payload"

// maxPayload keeps a parcel in memory. Routes take events of 1 MiB unless told
// otherwise.
const maxPayload = 16 << 20

// compile makes a program, reporting everything that is wrong with the
// content. The program is of use only when there was nothing.
func compile(c Content, seed int64, instance string, p *stage.Problems) *program {
	own := c
	c = c.onTemplate(p)
	prog := &program{base: baseOf(seed), sessions: newSessions(c.Sessions, seed), payload: c.Payload}
	fields := prog.addFields(c, instance, p)
	if c.Payload.min < 0 || c.Payload.max > maxPayload {
		p.Add("content.payload", "must be between 0 and %v, got %v", stage.Size(maxPayload), c.Payload)
	}
	if n := c.Sessions.orDefault(); n.Events < 1 || n.Events > maxSession {
		p.Add("content.sessions.events", "must be between 1 and %d, got %d", maxSession, n.Events)
	}
	if n := c.Sessions.orDefault(); n.AtOnce < 1 || n.AtOnce > maxSession {
		p.Add("content.sessions.at_once", "must be between 1 and %d, got %d", maxSession, n.AtOnce)
	}
	lines := compileMessages(c, fields, p)
	prog.addLines(own, c, lines, p)
	prog.measure()
	return prog
}

// addFields makes the fields; those that are metadata in the order of their
// names.
func (prog *program) addFields(c Content, instance string, p *stage.Problems) map[string]*field {
	names := make([]string, 0, len(c.Fields))
	for name := range c.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make(map[string]*field, len(names))
	for _, name := range names {
		f := newField(name, c.Fields[name], instance, p)
		fields[name] = f
		if c.Fields[name].Session {
			prog.shared = append(prog.shared, f)
			f.shared = len(prog.shared)
		}
		if !c.Fields[name].MessageOnly {
			prog.attributes = append(prog.attributes, f)
		}
	}
	if _, taken := fields[payloadName]; taken && c.Payload.max > 0 {
		p.Add("content.fields."+payloadName, "must not be there when content.payload is set, which makes the attribute of this name")
	}
	return fields
}

// compileMessages makes a line of each message, its level as configured.
func compileMessages(c Content, fields map[string]*field, p *stage.Problems) []line {
	if len(c.Messages) == 0 {
		p.Add("content.messages", "must have at least one message when there is no template, got none")
	}
	everywhere := placesOf(c.Sources...)
	lines := make([]line, len(c.Messages))
	for i, m := range c.Messages {
		at := "content.messages." + strconv.Itoa(i)
		pieces, err := cut(m.Text, fields)
		if err != nil {
			p.Add(at, "%v", err)
		}
		if m.Text == "" {
			p.Add(at, "must have a text, got \"\"")
		}
		lines[i] = line{m.Level, everywhere, pieces}
		if m.Source != "" {
			lines[i].places = placesOf(m.Source)
		} else if len(c.Sources) == 0 {
			p.Add(at, "must have a source when content.sources is empty, got \"\"")
		}
	}
	return lines
}

func placesOf(sources ...string) []place {
	var places []place
	for _, source := range sources {
		for n := range hostsPerSource {
			places = append(places, place{source, source + "-" + strconv.Itoa(n+1)})
		}
	}
	return places
}

// cut cuts a message at its placeholders.
func cut(message string, fields map[string]*field) ([]piece, error) {
	var pieces []piece
	var fixed strings.Builder
	for rest := message; ; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			fixed.WriteString(rest)
			return append(pieces, piece{text: fixed.String()}), nil
		}
		fixed.WriteString(rest[:i])
		brace := rest[i : i+1]
		if rest = rest[i+1:]; strings.HasPrefix(rest, brace) || brace == "}" { // {{ or }}, or a lone } that can mean nothing else
			fixed.WriteString(brace)
			rest = strings.TrimPrefix(rest, brace)
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("the placeholder {%s has no closing brace; write {{ for a brace", rest)
		}
		f := fields[name]
		if f == nil {
			return nil, errUnknown(name, fields)
		}
		pieces = append(pieces, piece{fixed.String(), f})
		fixed.Reset()
		rest = after
	}
}

// addLines gives each message a line for every level it can have, with its
// part of that level's share, so that one draw decides both. own is the
// content as written: only what stands there can be wrong.
func (prog *program) addLines(own, c Content, messages []line, p *stage.Problems) {
	mix := levelMix(own, p)
	var weights []float64
	used := make([]bool, len(messages))
	for level := event.LevelTrace; level <= event.LevelFatal; level++ {
		share, sum := mix[level], 0.0
		first := len(prog.lines)
		for i, m := range messages {
			if share > 0 && (m.level == level || m.level == event.LevelUnset) {
				used[i] = true
				prog.lines = append(prog.lines, line{level, m.places, m.pieces})
				weights = append(weights, weightOf(c.Messages[i]))
				sum += weightOf(c.Messages[i])
			}
		}
		for i := first; i < len(weights); i++ {
			weights[i] *= share / sum
		}
		if sum == 0 && share > 0 && len(own.Levels) > 0 {
			p.Add("content.levels", "has weight %v for %v, but no message can have this level; add one to content.messages", share, level)
		}
	}
	checkUse(own, c, used, p)
	var err error
	if prog.pick, err = newAlias(weights); err != nil && firstError(p) == nil {
		p.Add("content.levels", "must leave something to say: %v", err)
	}
}

func weightOf(m Message) float64 {
	if m.Weight == 0 {
		return 1
	}
	return m.Weight
}

// levelMix is the weight of each level.
func levelMix(own Content, p *stage.Problems) map[event.Level]float64 {
	weights := own.Levels
	if len(weights) == 0 {
		weights = defaultLevels
	}
	mix := make(map[event.Level]float64, len(weights))
	names, _ := sorted(weights)
	for _, name := range names {
		level, err := event.ParseLevel(name)
		switch {
		case err != nil:
			p.Add("content.levels."+name, "%v", err)
		case !weightOK(weights[name]):
			p.Add("content.levels."+name, "must be a weight of at least 0, got %v", weights[name])
		default:
			mix[level] += weights[name]
		}
	}
	return mix
}

// maxWeight leaves room to add weights up and multiply them.
const maxWeight = 1e12

func weightOK(w float64) bool { return w >= 0 && w <= maxWeight }

// checkUse reports what is written but can have no effect.
func checkUse(own, c Content, used []bool, p *stage.Problems) {
	free := false
	for i, m := range c.Messages {
		free = free || m.Source == ""
		at := "content.messages." + strconv.Itoa(i)
		if !weightOK(m.Weight) {
			p.Add(at+".weight", "must be a weight of at least 0, got %v", m.Weight)
		}
		if len(own.Messages) > 0 && m.Level != event.LevelUnset && !used[i] {
			p.Warn(at, "is never used: its level %v has no weight in content.levels", m.Level)
		}
	}
	if len(own.Sources) > 0 && !free {
		p.Add("content.sources", "has no effect, since every message names its own source; give messages without one in content.messages")
	}
}

// measure finds how much text one event can need.
func (prog *program) measure() {
	message := 0
	for _, l := range prog.lines {
		n := 0
		for _, piece := range l.pieces {
			n += len(piece.text)
			if piece.field != nil {
				n += piece.field.longest()
			}
		}
		message = max(message, n)
	}
	prog.longest = message + idsLength + 16 + int(prog.payload.max)
	for _, f := range prog.attributes {
		prog.longest += f.longest()
	}
	for _, f := range prog.shared {
		prog.longest += f.longest()
	}
}

// width is how many attributes each event has.
func (prog *program) width() int {
	if prog.payload.max > 0 {
		return len(prog.attributes) + 1
	}
	return len(prog.attributes)
}

// fill makes the content of event number i: everything but its id and times.
// Text goes to the scribe's arena; attributes has room for width().
func (prog *program) fill(e *event.Event, i int64, s *scribe, attributes []event.Attribute) {
	k := keyOf(prog.base, i)
	of := s.session(prog, i, k)
	l := &prog.lines[prog.pick.draw(k.draw(saltLine))]
	at := &l.places[below(k.draw(saltPlace), uint64(len(l.places)))]

	buf := s.buf
	start := len(buf)
	buf = appendHex(buf, k.draw(saltSpan), 16)
	span := text(buf, start)

	start = len(buf)
	for j := range l.pieces {
		p := &l.pieces[j]
		buf = append(buf, p.text...)
		switch {
		case p.field == nil:
		case p.field.shared > 0:
			buf = append(buf, of.texts[p.field.shared-1]...)
		default:
			buf = p.field.append(buf, k, i)
		}
	}
	message := text(buf, start)

	for j, f := range prog.attributes {
		a := &attributes[j]
		a.Key = f.name
		if f.shared > 0 {
			a.Value = of.values[f.shared-1]
			continue
		}
		a.Value, buf = f.value(buf, k, i)
	}
	if prog.payload.max > 0 {
		start = len(buf)
		span := uint64(prog.payload.max-prog.payload.min) + 1
		n := int(prog.payload.min) + int(below(k.draw(saltSize), span))
		buf = appendWords(buf, k.draw(saltPayload), n)
		attributes[len(prog.attributes)] = event.Attribute{Key: payloadName, Value: event.String(text(buf, start))}
	}
	s.buf = buf

	// The whole struct is written: what stages left in it the last time goes.
	*e = event.Event{
		Offset:        i,
		Level:         l.level,
		Source:        at.source,
		Host:          at.host,
		Message:       message,
		CorrelationID: of.ids[:36],
		TraceID:       of.ids[36:],
		SpanID:        span,
		Attributes:    attributes,
	}
}
