package set

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

type placeKind uint8

const (
	placeNone placeKind = iota
	placeAttribute
	placeText
	placeLevel
	placeTime
	placeID
)

// place is a field or an attribute of an event.
type place struct {
	kind placeKind
	name string // of the field or the attribute
}

func (p place) String() string {
	if p.kind == placeAttribute {
		return attributePrefix + p.name
	}
	return p.name
}

const attributePrefix = "attributes."

var textFields = map[string]func(*event.Event) *string{
	"source": func(e *event.Event) *string { return &e.Source }, "host": func(e *event.Event) *string { return &e.Host },
	"message": func(e *event.Event) *string { return &e.Message }, "correlation_id": func(e *event.Event) *string { return &e.CorrelationID },
	"trace_id": func(e *event.Event) *string { return &e.TraceID }, "span_id": func(e *event.Event) *string { return &e.SpanID },
	"organisation": func(e *event.Event) *string { return &e.Organisation },
	"stack_trace":  func(e *event.Event) *string { return &e.StackTrace },
}

func placeOf(text string) (place, error) {
	switch text {
	case "level":
		return place{placeLevel, text}, nil
	case "time":
		return place{placeTime, text}, nil
	case "id":
		return place{placeID, text}, nil
	}
	if _, ok := textFields[text]; ok {
		return place{placeText, text}, nil
	}
	if name, ok := strings.CutPrefix(text, attributePrefix); ok && name != "" {
		return place{placeAttribute, name}, nil
	}
	return place{}, fmt.Errorf("must be a field of an event, such as host, or attributes.NAME, got %q", text)
}

// result is what a place is to hold.
type result struct {
	there  bool
	isTime bool
	value  event.Value
	time   time.Time
	level  event.Level
	id     uuid.UUID
}

func found(v event.Value) result { return result{there: true, value: v} }

// read is what a place holds.
func (p place) read(e *event.Event) result {
	switch p.kind {
	case placeAttribute:
		v, ok := e.Attribute(p.name)
		return result{there: ok, value: v}
	case placeText:
		s := *textFields[p.name](e)
		return result{there: s != "", value: event.String(s)}
	case placeLevel:
		return result{there: e.Level != event.LevelUnset, value: event.String(e.Level.String())}
	case placeTime:
		return result{there: !e.Time.IsZero(), time: e.Time, isTime: true}
	default:
		return result{there: e.ID != uuid.Nil, value: event.String(e.ID.String())}
	}
}

// fit makes of a result what the place can hold.
func (p place) fit(r result) (result, error) {
	if p.kind == placeTime {
		return fitTime(r)
	}
	if r.isTime {
		r.value, r.isTime = event.String(r.time.UTC().Format(time.RFC3339Nano)), false
	}
	switch p.kind {
	case placeText:
		r.value = event.String(r.value.String())
	case placeLevel:
		return fitLevel(r)
	case placeID:
		return fitID(r)
	}
	return r, nil
}

func fitTime(r result) (result, error) {
	if !r.isTime {
		var err error
		switch r.value.Kind() {
		case event.KindInt:
			r.time = time.UnixMilli(r.value.Int())
		case event.KindString:
			r.time, err = time.Parse(time.RFC3339Nano, r.value.Str())
		default:
			err = errWantTime
		}
		if err != nil {
			return r, errWantTime
		}
	}
	r.time = r.time.UTC()
	if y := r.time.Year(); y < 1 || y > 9999 {
		return r, fmt.Errorf("a time must be in the years 1 to 9999, got the year %d", y)
	}
	return r, nil
}

var errWantTime = fmt.Errorf("want a time such as 2026-01-31T10:00:00.123Z, or whole milliseconds since 1970")

// fitLevel takes a name, or a number as the names of levels are in expressions.
func fitLevel(r result) (result, error) {
	var err error
	switch v := r.value; {
	case v.Kind() == event.KindInt && v.Int() >= int64(event.LevelUnset) && v.Int() <= int64(event.LevelFatal):
		r.level = event.Level(v.Int())
	case v.Kind() == event.KindString && len(v.Str()) <= 32:
		r.level, err = event.ParseLevel(v.Str())
	default:
		err = fmt.Errorf("want one of %s", strings.Join(event.Levels(), ", "))
	}
	return r, err
}

func fitID(r result) (result, error) {
	text := r.value.String()
	if text == "" {
		return r, fmt.Errorf("want an id, got an empty text")
	}
	r.value = event.Value{}
	if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
		r.id = id
		return r, nil
	}
	r.id, r.value = uuid.NewSHA1(uuid.NameSpaceOID, []byte(text)), event.String(text)
	return r, nil
}

// originalID is the attribute that keeps an id that is no UUID.
const originalID = "original_id"

func (p place) write(e *event.Event, r result) {
	switch p.kind {
	case placeAttribute:
		e.SetAttribute(p.name, r.value)
	case placeText:
		*textFields[p.name](e) = r.value.Str()
	case placeLevel:
		e.Level = r.level
	case placeTime:
		e.Time = r.time
	case placeID:
		e.ID = r.id
		if text := r.value.Str(); text != "" {
			e.SetAttribute(originalID, event.String(text))
		}
	}
}

func (p place) empty(e *event.Event) {
	switch p.kind {
	case placeAttribute:
		e.RemoveAttribute(p.name)
	case placeText:
		*textFields[p.name](e) = ""
	case placeLevel:
		e.Level = event.LevelUnset
	case placeTime:
		e.Time = time.Time{}
	}
}

// constant is a value of the file as the place holds it.
func constant(value any, p place) (result, error) {
	var v event.Value
	switch got := value.(type) {
	case string:
		v = event.String(got)
	case int64:
		v = event.Int(got)
	case float64:
		v = event.Float(got)
	case bool:
		v = event.Bool(got)
	default:
		return result{}, fmt.Errorf("must be text, a number, true or false, got %v", value)
	}
	if f := v.Float(); v.Kind() == event.KindFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return result{}, fmt.Errorf("must be a finite number")
	}
	if p.kind == placeText && v.Kind() != event.KindString {
		return result{}, fmt.Errorf("must be text, got %s; put it in quotes", v)
	}
	if p.kind == placeNone {
		return result{}, nil
	}
	return p.fit(found(v))
}
