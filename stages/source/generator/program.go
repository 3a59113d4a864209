package generator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// program is Content ready to make events: names resolved, messages cut at
// their placeholders, weights in tables. Nothing of it changes afterwards, so
// that many goroutines may make events with it.
type program struct {
	content       Content // as it was written
	hash          string
	text          []byte // of the content, as JSON
	base          uint64 // the seed, mixed
	format        string
	sessions      sessions
	lines         []line
	usual         mood
	moods         map[string]*mood // by phase
	burst         burst
	attributes    []*field // the metadata, by name
	shared        []*field // what the events of a session share, by name
	organisations []string
	belong        zipf // of a session to one of them
	payload       payload
	lateBy        uint64 // nanoseconds
	longest       int    // bytes of text that one event can need
}

// line is one message at one level.
type line struct {
	level  event.Level
	places []place
	pick   alias // among places; without: equally likely
	pieces []piece
}

// place is where an event comes from.
type place struct {
	source, host string
}

// piece is a stretch of fixed text and what comes after it: a field, something
// of the event's own, or nothing.
type piece struct {
	text  string
	field *field
	own   trait
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
	saltOrg         = saltOf("organisation")
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
	c = c.onSchema(p)
	prog := &program{
		content: own, base: baseOf(seed), format: c.Format, sessions: newSessions(c.Sessions, seed), payload: newPayload(c.Payload, p),
		lateBy: uint64(cmp.Or(c.LateBy.Std(), time.Hour)),
	}
	c.Sessions.check(p)
	fields := prog.addFields(c, instance, p)
	prog.addOrganisations(c.Organisations, p)
	lines := compileMessages(c, fields, p)
	prog.addLines(own, c, lines, p)
	prog.checkFormat(p)
	if firstError(p) == nil {
		prog.wrap()
		prog.measure()
		prog.name(p)
	}
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
	fields, room := make(map[string]*field, len(names)), room{p: p}
	for _, name := range names {
		as := c.Fields[name]
		if !room.holds("content.fields."+name, as.textBytes()) {
			as = Field{Kind: "bool"} // keeps the place, so that nobody misses it
		}
		f := newField(name, as, instance, p)
		fields[name] = f
		if !c.Fields[name].MessageOnly {
			prog.attributes = append(prog.attributes, f)
		}
	}
	resolve(c.Fields, names, fields, &room)
	for _, name := range names {
		if fields[name].session {
			prog.share(fields[name])
		}
	}
	if _, taken := fields[payloadName]; taken && prog.payload.some() {
		p.Add("content.fields."+payloadName, "must not be there when content.payload is set, which makes the attribute of this name")
	}
	return fields
}

// share makes a field one of those that the events of a session share.
func (prog *program) share(f *field) {
	prog.shared = append(prog.shared, f)
	f.shared = len(prog.shared)
}

// maxOrganisations bounds the names that are kept.
const maxOrganisations = 1_000_000

func (prog *program) addOrganisations(c Organisations, p *stage.Problems) {
	if c.Count < 0 || c.Count > maxOrganisations {
		p.Add("content.organisations.count", "must be between 0 and %d, got %d", maxOrganisations, c.Count)
		return
	}
	if c.Skew != 0 && c.Count == 0 {
		p.Add("content.organisations.skew", "has no effect without count")
	}
	if !skewOK(c.Skew) {
		p.Add("content.organisations.skew", "must be between 0 and %d, got %v", maxExponent, c.Skew)
		return
	}
	for i := range c.Count {
		prog.organisations = append(prog.organisations, "org-"+strconv.Itoa(i+1))
	}
	if c.Count > 0 {
		prog.belong = newZipf(int64(c.Count), c.Skew)
	}
}

func skewOK(s float64) bool { return s >= 0 && s <= maxExponent }

// compileMessages makes a line of each message, its level as configured.
func compileMessages(c Content, fields map[string]*field, p *stage.Problems) []line {
	if len(c.Messages) == 0 {
		p.Add("content.messages", "must have at least one message when there is no template, got none")
	}
	everywhere := placesOf(c.Sources...)
	skewed := alias{}
	if !skewOK(c.SourceSkew) {
		p.Add("content.source_skew", "must be between 0 and %d, got %v", maxExponent, c.SourceSkew)
	} else if c.SourceSkew > 0 && len(c.Sources) > 0 {
		skewed = skewedPlaces(len(c.Sources), c.SourceSkew)
	}
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
		lines[i] = line{m.Level, everywhere, skewed, pieces}
		if m.Source != "" {
			lines[i].places, lines[i].pick = placesOf(m.Source), alias{}
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

// skewedPlaces draws places whose sources follow Zipf's law.
func skewedPlaces(sources int, exponent float64) alias {
	var weights []float64
	for rank := range sources {
		for range hostsPerSource {
			weights = append(weights, math.Pow(float64(rank+1), -exponent))
		}
	}
	a, _ := newAlias(weights) // the first weight is 1
	return a
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
		f, o := fields[name], owns[name]
		if f == nil && o == nothing {
			return nil, errUnknown(name, fields)
		}
		if f != nil {
			o = nothing
		}
		pieces = append(pieces, piece{fixed.String(), f, o})
		fixed.Reset()
		rest = after
	}
}

// addLines gives each message a line for every level it can have at some time,
// with its part of that level's share, so that one draw decides both. own is
// the content as written: only what stands there can be wrong.
func (prog *program) addLines(own, c Content, messages []line, p *stage.Problems) {
	usual := levelMix("content.levels", c.Levels, p)
	mixes := map[string]map[event.Level]float64{}
	for phase, o := range c.Phases {
		if mixes[phase] = usual; len(o.Levels) > 0 {
			mixes[phase] = levelMix("content.phases."+phase+".levels", o.Levels, p)
		}
	}
	used := make([]bool, len(messages))
	var of []int // message of each line
	for level := event.LevelTrace; level <= event.LevelFatal; level++ {
		share := usual[level]
		for _, mix := range mixes {
			share += mix[level]
		}
		if c.ErrorBurst.Every > 0 && level == event.LevelError {
			share++
		}
		for i, m := range messages {
			if share > 0 && (m.level == level || m.level == event.LevelUnset) {
				used[i] = true
				prog.lines = append(prog.lines, line{level, m.places, m.pick, m.pieces})
				of = append(of, i)
			}
		}
	}
	weights := weigh{c: c, lines: prog.lines, of: of, p: p}
	prog.usual = newMood(c)
	prog.usual.pick = weights.pick("content.levels", usual, len(own.Levels) > 0)
	prog.addMoods(c, mixes, &weights)
	prog.burst = newBurst(c.ErrorBurst, prog.base, &weights)
	checkUse(own, c, used, p)
}

// weigh makes the draws among lines.
type weigh struct {
	c     Content
	lines []line
	of    []int // message of each line
	p     *stage.Problems
}

// pick draws lines so that each level has its share, as far as there are
// messages for it; strict: there must be.
func (w *weigh) pick(at string, mix map[event.Level]float64, strict bool) alias {
	sums := map[event.Level]float64{}
	for i, l := range w.lines {
		sums[l.level] += weightOf(w.c.Messages[w.of[i]])
	}
	weights := make([]float64, len(w.lines))
	for i, l := range w.lines {
		if sums[l.level] > 0 {
			weights[i] = weightOf(w.c.Messages[w.of[i]]) / sums[l.level] * mix[l.level]
		}
	}
	for level := event.LevelTrace; level <= event.LevelFatal; level++ {
		if sums[level] == 0 && mix[level] > 0 && strict {
			w.p.Add(at, "has weight %v for %v, but no message can have this level; add one to content.messages", mix[level], level)
		}
	}
	pick, err := newAlias(weights)
	if err != nil && firstError(w.p) == nil {
		w.p.Add(at, "must leave something to say: %v", err)
	}
	return pick
}

// weightOf is the weight of a message; 1 for one that is wrong and reported.
func weightOf(m Message) float64 {
	if m.Weight == 0 || !weightOK(m.Weight) {
		return 1
	}
	return m.Weight
}

// levelMix is the weight of each level.
func levelMix(at string, weights map[string]float64, p *stage.Problems) map[event.Level]float64 {
	if len(weights) == 0 {
		weights = defaultLevels
	}
	mix := make(map[event.Level]float64, len(weights))
	names, _ := sorted(weights)
	for _, name := range names {
		level, err := event.ParseLevel(name)
		switch {
		case err != nil:
			p.Add(at+"."+name, "%v", err)
		case !weightOK(weights[name]):
			p.Add(at+"."+name, "must be a weight of at least 0, got %v", weights[name])
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
	if own.SourceSkew > 0 && !free {
		p.Add("content.source_skew", "has no effect, since every message names its own source; give messages without one in content.messages")
	}
	if len(own.Sources) > 0 && !free {
		p.Add("content.sources", "has no effect, since every message names its own source; give messages without one in content.messages")
	}
}
