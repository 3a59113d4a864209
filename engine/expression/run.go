package expression

import (
	"strings"
	"time"
	"unsafe"

	"github.com/expr-lang/expr/vm"

	"millrace/engine/event"
)

var zeroTime time.Time

// texts are the names that stand for text.
var texts = map[string]func(*event.Event) string{
	"id":             func(e *event.Event) string { return e.ID.String() },
	"source":         func(e *event.Event) string { return e.Source },
	"host":           func(e *event.Event) string { return e.Host },
	"message":        func(e *event.Event) string { return e.Message },
	"correlation_id": func(e *event.Event) string { return e.CorrelationID },
	"trace_id":       func(e *event.Event) string { return e.TraceID },
	"span_id":        func(e *event.Event) string { return e.SpanID },
	"organisation":   func(e *event.Event) string { return e.Organisation },
	"stack_trace":    func(e *event.Event) string { return e.StackTrace },
	levelName:        func(e *event.Event) string { return e.Level.String() },
}

// run is what one evaluation needs. It is used again for the next event: names
// holds interface values that point at the fields below, so that setting a
// field sets the name, without a map write and without an allocation.
type run struct {
	vm    vm.VM
	names map[string]any

	text       []textSlot
	attributes []attributeSlot
	all        bool // attributes is used as a whole
	level      int
	offset     int
	time       time.Time
}

type textSlot struct {
	value string
	of    func(*event.Event) string
}

// attributeSlot is one attribute by its key. Its kind may differ from event to
// event: there is a value to show for each.
type attributeSlot struct {
	name, key  string
	text       string
	whole      int
	number     float64
	asText     any
	asWhole    any
	asNumber   any
	wasMissing bool
	was        event.Kind
}

func newRun(uses []string) *run {
	r := &run{names: make(map[string]any, len(uses))}
	r.vm.MemoryBudget = maxMemory
	for _, name := range uses {
		if of, ok := texts[name]; ok {
			r.text = append(r.text, textSlot{of: of})
		} else if key, ok := strings.CutPrefix(name, attributePrefix); ok {
			r.attributes = append(r.attributes, attributeSlot{name: name, key: key, wasMissing: true})
		}
	}
	// The slots do not move any more: now they can be pointed at.
	i := 0
	for _, name := range uses {
		switch _, isText := texts[name]; {
		case isText:
			r.names[name] = show(&r.text[i].value)
			i++
		case name == "level":
			r.names[name] = show(&r.level)
		case name == "offset":
			r.names[name] = show(&r.offset)
		case name == "time":
			r.names[name] = show(&r.time)
		case name == "attributes":
			r.all = true
		}
	}
	for i := range r.attributes {
		s := &r.attributes[i]
		s.asText, s.asWhole, s.asNumber = show(&s.text), show(&s.whole), show(&s.number)
		r.names[s.name] = nil
	}
	return r
}

// show returns an interface value that holds whatever p points to at the time
// it is looked at. Interface values normally never change; these are only seen
// by the virtual machine during one evaluation, in which they do not.
func show[T string | int | float64 | time.Time](p *T) any {
	shown := any(*p)
	(*[2]unsafe.Pointer)(unsafe.Pointer(&shown))[1] = unsafe.Pointer(p)
	return shown
}

// begin makes the event what the names stand for.
func (p *program) begin(e *event.Event) *run {
	r := p.runs.Get().(*run)
	r.level, r.offset, r.time = int(e.Level), int(e.Offset), e.Time
	for i := range r.text {
		r.text[i].value = r.text[i].of(e)
	}
	for i := range r.attributes {
		r.attributes[i].load(e, r.names)
	}
	if r.all {
		r.names["attributes"] = attributesOf(e)
	}
	return r
}

// end gives the run back, holding on to nothing of the event.
func (p *program) end(r *run) {
	for i := range r.text {
		r.text[i].value = ""
	}
	for i := range r.attributes {
		r.attributes[i].text = ""
	}
	if r.all {
		r.names["attributes"] = nil
	}
	p.runs.Put(r)
}

func (s *attributeSlot) load(e *event.Event, names map[string]any) {
	value, ok := e.Attribute(s.key)
	if !ok {
		if !s.wasMissing {
			names[s.name], s.wasMissing = nil, true
		}
		return
	}
	switch value.Kind() {
	case event.KindInt:
		s.whole = int(value.Int())
	case event.KindFloat:
		s.number = value.Float()
	case event.KindString:
		s.text = value.Str()
	}
	if s.wasMissing || value.Kind() != s.was || s.was == event.KindBool {
		names[s.name] = s.shown(value)
		s.wasMissing, s.was = false, value.Kind()
	}
}

func (s *attributeSlot) shown(v event.Value) any {
	switch v.Kind() {
	case event.KindInt:
		return s.asWhole
	case event.KindFloat:
		return s.asNumber
	case event.KindBool:
		return v.Bool()
	default:
		return s.asText
	}
}

// attributesOf is the map of an expression that asks for attributes by keys
// that it computes, or for all of them.
func attributesOf(e *event.Event) map[string]any {
	all := make(map[string]any, len(e.Attributes))
	for i := range e.Attributes {
		value := e.Attributes[i].Value.Any()
		if n, ok := value.(int64); ok {
			value = int(n) // the kind of whole number that expr computes with
		}
		all[e.Attributes[i].Key] = value
	}
	return all
}
