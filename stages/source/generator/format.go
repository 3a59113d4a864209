package generator

import (
	"slices"
	"strings"
	"unicode/utf8"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// The formats of content. In all but the first, an event is one line as a file
// or a socket brings it: its message is the line and nothing else is known, so
// that a route has something to parse.
const (
	formatEvent   = "event"
	formatText    = "text"
	formatJSON    = "json"
	formatLogfmt  = "logfmt"
	formatRFC5424 = "rfc5424"
)

var formats = []string{formatEvent, formatText, formatJSON, formatLogfmt, formatRFC5424}

// trait is what an event has of its own, as a part of a line.
type trait uint8

const (
	nothing trait = iota
	ownTime
	ownClock
	ownLevel
	ownSource
	ownHost
	ownCorrelation
	ownTrace
	ownSpan
	ownOrganisation
	ownPayload
)

// owns are the placeholders that need no field.
var owns = map[string]trait{
	"time": ownTime, "time_clf": ownClock, "level": ownLevel, "source": ownSource, "host": ownHost,
	"correlation_id": ownCorrelation, "trace_id": ownTrace, "span_id": ownSpan, "organisation": ownOrganisation,
}

// wrap makes the message of each line into a line of the program's format.
func (prog *program) wrap() {
	var w wrapper
	switch prog.format {
	case formatJSON:
		w = wrapper{escape: escapeJSON, line: (*wrapper).json}
	case formatLogfmt:
		w = wrapper{escape: escapeJSON, line: (*wrapper).logfmt}
	case formatRFC5424:
		w = wrapper{escape: escapeParameter, line: (*wrapper).rfc5424}
	default:
		return
	}
	w.prog, w.escaped = prog, map[*field]*field{}
	for i := range prog.lines {
		w.pieces = nil
		w.line(&w, &prog.lines[i])
		prog.lines[i].pieces = append(w.pieces, piece{text: w.fixed})
		w.fixed = ""
	}
	for i := range prog.lines {
		prog.lines[i].places = slices.Clone(prog.lines[i].places)
		for j := range prog.lines[i].places {
			at := &prog.lines[i].places[j]
			if at.source, at.host = w.escape(at.source), w.escape(at.host); prog.format == formatRFC5424 {
				at.source, at.host = word(at.source), word(at.host)
			}
		}
	}
	for i, name := range prog.organisations {
		prog.organisations[i] = w.escape(name)
	}
}

// wrapper writes the pieces of a line.
type wrapper struct {
	prog    *program
	escape  func(string) string // for text between quotation marks
	line    func(*wrapper, *line)
	escaped map[*field]*field
	pieces  []piece
	fixed   string // text behind them
}

func (w *wrapper) text(fixed string) { w.fixed += fixed }

func (w *wrapper) own(o trait) { w.add(piece{own: o}) }

// add writes a piece with the text before it.
func (w *wrapper) add(p piece) {
	p.text, w.fixed = w.fixed, ""
	w.pieces = append(w.pieces, p)
}

// field writes a field whose texts are escaped.
func (w *wrapper) field(f *field) {
	e, done := w.escaped[f]
	if !done {
		e = f.with(w.escape)
		if w.escaped[f] = e; e != f && e.shared > 0 {
			w.prog.share(e)
		}
	}
	if e.make == oneOf && len(e.options) == 1 {
		w.text(e.options[0])
		return
	}
	w.add(piece{field: e})
}

// message writes the message, escaped.
func (w *wrapper) message(l *line) {
	for _, p := range l.pieces {
		w.text(w.escape(p.text))
		if p.field != nil {
			w.field(p.field)
		} else if p.own != nothing {
			w.own(p.own)
		}
	}
}

func (w *wrapper) json(l *line) {
	w.text(`{"timestamp":"`)
	w.own(ownTime)
	w.text(`","level":"` + l.level.String() + `","source":"`)
	w.own(ownSource)
	w.text(`","host":"`)
	w.own(ownHost)
	w.text(`","message":"`)
	w.message(l)
	for _, o := range []struct {
		name string
		own  trait
	}{{"correlation_id", ownCorrelation}, {"trace_id", ownTrace}, {"span_id", ownSpan}} {
		w.text(`","` + o.name + `":"`)
		w.own(o.own)
	}
	if w.prog.organisations != nil {
		w.text(`","organisation":"`)
		w.own(ownOrganisation)
	}
	w.text(`"`)
	w.jsonMetadata()
	w.text(`}`)
}

func (w *wrapper) jsonMetadata() {
	between := `,"metadata":{"`
	for _, f := range w.prog.attributes {
		w.text(between + f.name + `":`)
		between = `,"`
		if f.bare() {
			w.field(f)
			continue
		}
		w.text(`"`)
		w.field(f)
		w.text(`"`)
	}
	if w.prog.payload.some() {
		w.text(between + payloadName + `":"`)
		w.own(ownPayload)
		w.text(`"`)
		between = `,"`
	}
	if between == `,"` {
		w.text(`}`)
	}
}

func (w *wrapper) logfmt(l *line) {
	fields := map[string]bool{}
	for _, f := range w.prog.attributes {
		fields[f.name] = true // takes the place of what has the same name
	}
	space := ""
	for _, o := range []struct {
		name string
		own  trait
	}{
		{"time", ownTime}, {"level", ownLevel}, {"source", ownSource}, {"host", ownHost}, {"msg", nothing},
		{"correlation_id", ownCorrelation}, {"trace_id", ownTrace}, {"span_id", ownSpan}, {"organisation", ownOrganisation},
	} {
		if fields[o.name] || o.own == ownOrganisation && w.prog.organisations == nil {
			continue
		}
		w.text(space + o.name + `="`)
		if o.own == nothing {
			w.message(l)
		} else {
			w.own(o.own)
		}
		w.text(`"`)
		space = " "
	}
	for _, f := range w.prog.attributes {
		quote := `"`
		if f.bare() {
			quote = ""
		}
		w.text(" " + f.name + "=" + quote)
		w.field(f)
		w.text(quote)
	}
	if w.prog.payload.some() {
		w.text(" " + payloadName + `="`)
		w.own(ownPayload)
		w.text(`"`)
	}
}

// severities are those of syslog, for the facility local0.
var severities = map[event.Level]string{
	event.LevelTrace: "<135>", event.LevelDebug: "<135>", event.LevelInfo: "<134>",
	event.LevelWarn: "<132>", event.LevelError: "<131>", event.LevelFatal: "<130>",
}

func (w *wrapper) rfc5424(l *line) {
	w.text(severities[l.level] + "1 ")
	w.own(ownTime)
	w.text(" ")
	w.own(ownHost)
	w.text(" ")
	w.own(ownSource)
	w.text(` - - [context correlation_id="`)
	w.own(ownCorrelation)
	w.text(`" trace_id="`)
	w.own(ownTrace)
	w.text(`" span_id="`)
	w.own(ownSpan)
	if w.prog.organisations != nil {
		w.text(`" organisation="`)
		w.own(ownOrganisation)
	}
	for _, f := range w.prog.attributes {
		w.text(`" ` + f.name + `="`)
		w.field(f)
	}
	if w.prog.payload.some() {
		w.text(`" ` + payloadName + `="`)
		w.own(ownPayload)
	}
	w.text(`"] `)
	for _, p := range l.pieces { // nothing is escaped in a message
		w.text(p.text)
		if p.field != nil || p.own != nothing {
			w.add(piece{field: p.field, own: p.own})
		}
	}
}

// escapeJSON makes text fit between the quotation marks of JSON and logfmt.
func escapeJSON(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == utf8.RuneError }) {
		return s
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			b.WriteString(`\u00`)
			b.WriteByte(digits[r>>4])
			b.WriteByte(digits[r&15])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escapeParameter makes text fit between the quotation marks of RFC 5424.
func escapeParameter(s string) string {
	return strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`).Replace(s)
}

// word makes text a name in the header of RFC 5424.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '-'
		}
		return r
	}, s)
}

// checkFormat reports what a format has no place for.
func (prog *program) checkFormat(p *stage.Problems) {
	p.OneOf("content.format", prog.format, formats...)
	if prog.format == formatText && prog.payload.some() {
		p.Add("content.payload", "has no place in a line of the format text; use {field} with words of your own, or another format")
	}
}
