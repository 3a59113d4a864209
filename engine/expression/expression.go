// Package expression is the small language in which a pipeline file asks
// something of an event: `when: 'level >= WARN && source == "payments"'`.
//
// It is expr-lang/expr over one fixed set of names, compiled and type-checked
// when the file is read, so that a misspelt name is a problem of the file and
// not a surprise at the first event:
//
//	level                                compares with TRACE DEBUG INFO WARN ERROR FATAL, or with their names as text in any
//	                                     case, also those of an attribute; its name where text is wanted: string(level), a key
//	source host message correlation_id trace_id span_id organisation stack_trace id   text, "" when empty
//	time                                 compares with date("2026-01-31T00:00:00Z"), now() and duration("1h")
//	offset                               whole number: the place in the event's origin
//	attributes                           attributes.user_id; nil when the event has none of that key
//
// An attribute can hold text, a number or a boolean, so comparing one may fail
// for a single event ("more than 5" asked of text, or of nil). Match says so
// with an error; `(attributes.size ?? 0) > 5` is how a rule copes with nil.
// string(…) makes text of one value, and "" of nil.
//
// A rule must not be able to stop a pipeline: its length and its number of
// parts are bounded, so is the memory that it may ask for, and what multiplies
// work is refused when it is compiled: let, reduce, repeat, replace, uniq, loops
// inside loops. Inside a loop such as any(split(message, ","), …) the texts of
// the event can only be compared, + only adds numbers, and no list is made; over
// a list that is written out, any(["a", "b"], message contains #), the texts may
// be used freely.
package expression

import (
	"fmt"
	"reflect"
	"strconv"

	"millrace/engine/event"
)

// Condition is a yes-or-no question about an event: a configuration value.
// The zero Condition says yes to everything. Conditions are values: a copy
// asks the same. Safe for concurrent use.
type Condition struct{ program *program }

// UnmarshalText compiles a condition. Errors name the column, what is wrong
// there and, for a misspelt name, the one that was likely meant.
func (c *Condition) UnmarshalText(text []byte) error {
	compiled, err := compile(string(text), reflect.Bool)
	if err != nil {
		return err
	}
	c.program = compiled
	return nil
}

// MarshalText gives the source text back.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String is the source text; "" for the zero Condition.
func (c Condition) String() string { return c.program.text() }

// IsZero reports whether there is no condition.
func (c Condition) IsZero() bool { return c.program == nil }

// Match answers for one event. An error means that the question makes no sense
// for this event; asking again gives the same error.
func (c Condition) Match(e *event.Event) (bool, error) {
	if c.program == nil {
		return true, nil
	}
	r := c.program.begin(e)
	defer c.program.end(r)
	out, err := r.vm.Run(c.program.code, r.names)
	if err != nil {
		return false, c.program.failed(err, r)
	}
	yes, ok := out.(bool)
	if !ok {
		return false, c.program.failed(fmt.Errorf("gives %T where true or false is wanted", out), r)
	}
	return yes, nil
}

// Text is an expression that gives text, such as a key: a configuration value.
// Numbers and booleans are written as text, a missing attribute as "". The
// zero Text gives "". Safe for concurrent use.
type Text struct{ program *program }

// UnmarshalText compiles the expression; see Condition.UnmarshalText.
func (t *Text) UnmarshalText(text []byte) error {
	compiled, err := compile(string(text), reflect.String)
	if err != nil {
		return err
	}
	t.program = compiled
	return nil
}

// MarshalText gives the source text back.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String is the source text; "" for the zero Text.
func (t Text) String() string { return t.program.text() }

// IsZero reports whether there is no expression.
func (t Text) IsZero() bool { return t.program == nil }

// Of gives the text for one event. It may point into the event's memory. An
// error means that the expression makes no sense for this event.
func (t Text) Of(e *event.Event) (string, error) {
	if t.program == nil {
		return "", nil
	}
	r := t.program.begin(e)
	defer t.program.end(r)
	out, err := r.vm.Run(t.program.code, r.names)
	if err != nil {
		return "", t.program.failed(err, r)
	}
	switch v := out.(type) {
	case string:
		return v, nil
	case nil:
		return "", nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		return "", t.program.failed(fmt.Errorf("gives %T where text or a number is wanted", out), r)
	}
}

func (p *program) text() string {
	if p == nil {
		return ""
	}
	return p.source
}
