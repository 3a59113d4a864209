package parse

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// maxAttributes bounds what one event may hold.
const maxAttributes = 1024

var errTooMany = fmt.Errorf("more than %d attributes", maxAttributes)

// originalID keeps an id that is no UUID, as where events arrive as JSON.
const originalID = "original_id"

// record is what was found in one text, until all of it is understood.
type record struct {
	times *times
	now   int64 // arrival of the event, Unix nanoseconds

	attributes []event.Attribute // those that the event had, then the found ones
	before     int               // how many it had
	apart      bool              // found names differ for certain: only those of before can be met again
	text       [texts]string
	time       time.Time
	level      event.Level
	id         uuid.UUID
	hasTime    bool
	hasLevel   bool
	hasID      bool
}

func (r *record) begin(e *event.Event, now int64, a *arena) {
	r.attributes = append(a.begin(len(e.Attributes)), e.Attributes...)
	r.before, r.now = len(r.attributes), now
	if e.Due != 0 {
		r.now = e.Due
	}
	r.text = [texts]string{}
	r.hasTime, r.hasLevel, r.hasID = false, false, false
}

// again forgets what a format found that did not fit.
func (r *record) again() {
	r.attributes = r.attributes[:r.before]
	r.text = [texts]string{}
	r.hasTime, r.hasLevel, r.hasID = false, false, false
}

// commit writes what was found into the event.
func (r *record) commit(e *event.Event, a *arena) {
	for i, into := range [texts]*string{
		&e.Message, &e.Source, &e.Host, &e.CorrelationID, &e.TraceID, &e.SpanID, &e.Organisation, &e.StackTrace,
	} {
		if r.text[i] != "" {
			*into = r.text[i]
		}
	}
	if r.hasTime {
		e.Time = r.time
	}
	if r.hasLevel {
		e.Level = r.level
	}
	if r.hasID {
		e.ID = r.id
	}
	if len(r.attributes) > 0 {
		e.Attributes = a.keep(r.attributes)
	}
}

// textField takes text of a format that knows that it is text.
func (r *record) textField(f *field, s string) error {
	if f.to == toAttribute && f.as == asFound {
		return r.attribute(f.key, event.String(s))
	}
	if f.to >= toMessage && f.as == asFound {
		r.text[f.to-toMessage] = s
		return nil
	}
	return r.put(f, event.String(s))
}

// guess takes text of a format that writes everything as text.
func (r *record) guess(f *field, s string) error {
	if f.to == toAttribute && f.as == asFound {
		return r.attribute(f.key, infer(s))
	}
	return r.textField(f, s)
}

// put takes a value.
func (r *record) put(f *field, v event.Value) error {
	if f.to == toAttribute && f.as == asFound {
		return r.attribute(f.key, v)
	}
	if f.as != asFound {
		var ok bool
		if v, ok = convert(v, f.as); !ok {
			return fmt.Errorf("%s: %w", f.name, errTypes[f.as])
		}
	}
	switch f.to {
	case toNowhere:
		return nil
	case toAttribute, toMetadata:
		return r.attribute(f.key, v)
	case toTime:
		return r.timeField(f, v)
	case toLevel:
		if r.level, r.hasLevel = levelOf(v); !r.hasLevel {
			return r.attribute(f.name, v) // a level of their own
		}
		return nil
	case toID:
		return r.idField(f, v)
	default:
		r.text[f.to-toMessage] = v.String()
		return nil
	}
}

// attribute sets one; of a name that comes twice the last wins.
func (r *record) attribute(key string, v event.Value) error {
	met := len(r.attributes)
	if r.apart {
		met = r.before
	}
	for i := range met {
		if r.attributes[i].Key == key {
			r.attributes[i].Value = v
			return nil
		}
	}
	if len(r.attributes) >= maxAttributes {
		return errTooMany
	}
	r.attributes = append(r.attributes, event.Attribute{Key: key, Value: v})
	return nil
}

func (r *record) timeField(f *field, v event.Value) error {
	if v.Kind() == event.KindString && v.Str() == "" {
		return nil
	}
	t, err := r.times.of(v, r.now)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	r.time, r.hasTime = t, true
	return nil
}

// timeWritten takes a time of a format that says how it is written.
func (r *record) timeWritten(f *field, layout, s string) error {
	if f.to != toTime || f.as != asFound {
		return r.textField(f, s)
	}
	t, err := r.times.written(layout, s, r.now)
	if err != nil {
		return err
	}
	r.time, r.hasTime = t, true
	return nil
}

func (r *record) idField(f *field, v event.Value) error {
	text := v.String()
	if text == "" {
		return nil
	}
	if len(text) == 36 {
		if id, err := uuid.Parse(text); err == nil {
			r.id, r.hasID = id, true
			return nil
		}
	}
	r.id, r.hasID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(text)), true
	return r.attribute(originalID, event.String(text))
}

// infer finds the type of a value that is written as text. A whole number is
// one only when writing it gives the same text, so that no 007 loses its zeros.
func infer(s string) event.Value {
	if s == "" || len(s) > 24 {
		return event.String(s)
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-' && len(s) > 1:
		return inferNumber(s)
	case s == "true":
		return event.Bool(true)
	case s == "false":
		return event.Bool(false)
	}
	return event.String(s)
}

func inferNumber(s string) event.Value {
	digits, point := s, false
	if s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] != '.' || digits[len(digits)-1] == '.' || digits == "0" && s[0] == '-' {
		return event.String(s)
	}
	for i := range len(digits) {
		switch c := digits[i]; {
		case c == '.' && !point && i > 0:
			point = true
		case c < '0' || c > '9':
			return event.String(s)
		}
	}
	if point {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return event.String(s)
		}
		return event.Float(f)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // beyond 64 bits
		return event.String(s)
	}
	return event.Int(n)
}

var errTypes = [...]error{
	asString: errors.New("want text"), asInt: errors.New("want a whole number"),
	asFloat: errors.New("want a number"), asBool: errors.New("want true or false"),
}

// convert makes a value of a type, where that loses nothing.
func convert(v event.Value, as valueType) (event.Value, bool) {
	switch {
	case as == asString:
		return event.String(v.String()), true
	case v.Kind() == event.KindString:
		return read(v.Str(), as)
	case as == asInt && v.Kind() == event.KindFloat:
		f := v.Float()
		return event.Int(int64(f)), f == float64(int64(f)) && f > -1<<63 && f < 1<<63
	case as == asFloat && v.Kind() == event.KindInt:
		return event.Float(float64(v.Int())), true
	}
	return v, v.Kind() == kinds[as]
}

var kinds = [...]event.Kind{asInt: event.KindInt, asFloat: event.KindFloat, asBool: event.KindBool}

func read(s string, as valueType) (event.Value, bool) {
	switch as {
	case asInt:
		n, err := strconv.ParseInt(s, 10, 64)
		return event.Int(n), err == nil
	case asFloat:
		f, err := strconv.ParseFloat(s, 64)
		return event.Float(f), err == nil && f-f == 0 // neither infinite nor none
	default:
		b, err := strconv.ParseBool(s)
		return event.Bool(b), err == nil
	}
}

// arena is the memory that the events of one batch keep.
type arena struct {
	attributes []event.Attribute
	text       []byte
	left       int // events that may still come
	usual      int // how many attributes events have
}

const (
	// spare is how many attributes a later stage may add to an event before that
	// costs the event memory of its own.
	spare = 2
	// maxUsual and maxChunk bound what is taken for events that may need less.
	maxUsual = 32
	maxChunk = 16 << 10
)

// begin is room for the attributes of the next event. Should it not be enough,
// the event has memory of its own.
func (a *arena) begin(had int) []event.Attribute {
	n := max(a.usual, had) + spare
	if cap(a.attributes)-len(a.attributes) < n {
		a.attributes = make([]event.Attribute, 0, max(n, min(n*a.left, maxChunk)))
	}
	return a.attributes[len(a.attributes):]
}

// keep makes what was written to the room of begin an event's.
func (a *arena) keep(found []event.Attribute) []event.Attribute {
	a.usual = min(max(a.usual, len(found)), maxUsual)
	start := len(a.attributes)
	end := start + len(found)
	if end > cap(a.attributes) || &a.attributes[:end][start] != &found[0] {
		return found // it has memory of its own
	}
	end = min(end+spare, cap(a.attributes))
	a.attributes = a.attributes[:end]
	return found[: len(found) : end-start]
}

// room makes sure that n bytes can be written to text without moving it.
func (a *arena) room(n int) {
	if cap(a.text)-len(a.text) < n {
		a.text = make([]byte, 0, max(n, 4<<10))
	}
}

// since is what was written to text since start. Nobody writes there again.
func (a *arena) since(start int) string {
	return unsafe.String(unsafe.SliceData(a.text[start:]), len(a.text)-start)
}
