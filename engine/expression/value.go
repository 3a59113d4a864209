package expression

import (
	"fmt"
	"reflect"
	"time"

	"millrace/engine/event"
)

// Value is an expression that gives a value to put into an event: a
// configuration value. Safe for concurrent use.
type Value struct{ program *program }

// Result is what a Value gives for one event: a time where GivesTime says so,
// otherwise a value, or nothing.
type Result struct {
	Value   event.Value
	Time    time.Time
	Missing bool // it gives nil, such as an attribute that the event does not have
}

// UnmarshalText compiles the expression; see Condition.UnmarshalText.
func (v *Value) UnmarshalText(text []byte) error {
	compiled, err := compile(string(text), reflect.Interface)
	if err != nil {
		return err
	}
	v.program = compiled
	return nil
}

// MarshalText gives the source text back.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// String is the source text; "" for the zero Value.
func (v Value) String() string { return v.program.text() }

// IsZero reports whether there is no expression.
func (v Value) IsZero() bool { return v.program == nil }

// GivesTime says that the expression gives a time, whatever the event.
func (v Value) GivesTime() bool { return v.program != nil && isTime(v.program) }

func isTime(p *program) bool { return p.code.Node().Type() == reflect.TypeFor[time.Time]() }

// Of gives the value for one event. Text may point into the event's memory. An
// error means that the expression makes no sense for this event. The zero
// Value gives nothing.
func (v Value) Of(e *event.Event) (Result, error) {
	if v.program == nil {
		return Result{Missing: true}, nil
	}
	r := v.program.begin(e)
	defer v.program.end(r)
	out, err := r.vm.Run(v.program.code, r.names)
	if err != nil {
		return Result{}, v.program.failed(err, r)
	}
	switch got := out.(type) {
	case string:
		return Result{Value: event.String(got)}, nil
	case nil:
		return Result{Missing: true}, nil
	case int:
		return Result{Value: event.Int(int64(got))}, nil
	case float64:
		return Result{Value: event.Float(got)}, nil
	case bool:
		return Result{Value: event.Bool(got)}, nil
	case time.Time:
		return Result{Time: got}, nil
	default:
		return Result{}, v.program.failed(fmt.Errorf("gives %T where text, a number, a boolean or a time is wanted", out), r)
	}
}
