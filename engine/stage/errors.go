package stage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class is what an error means to the engine.
type Class uint8

// The classes, by what the engine does.
const (
	// OK: there is no error.
	OK Class = iota
	// Retryable is bad weather, the default: a timeout, a refused connection,
	// an open breaker. The events stay open and are tried again.
	Retryable
	// BadEvent is about the event itself. It never counts against a breaker
	// and is never tried again; a poison queue takes the event.
	BadEvent
	// Unfixable needs a person: a wrong password, a missing table. The route
	// parks, unready and named.
	Unfixable
	// Stopped is the end of the context: neither the event nor the dependency
	// is to blame.
	Stopped
)

func (c Class) String() string {
	return [...]string{"ok", "retryable", "bad_event", "fatal", "stopped"}[c]
}

// ClassOf says what an error means. Errors that were not made by Bad or Fatal
// are Retryable, except context.Canceled, which is Stopped; a deadline that
// passed is weather.
func ClassOf(err error) Class {
	if err == nil {
		return OK // before c, which escapes: success allocates nothing
	}
	var c classed
	switch {
	case errors.As(err, &c):
		return c.errorClass()
	case errors.Is(err, context.Canceled):
		return Stopped
	default:
		return Retryable
	}
}

// Bad says that an event is bad.
func Bad(err error) error { return &classError{err: err, class: BadEvent} }

// Fatal says that only a person can mend this.
func Fatal(err error) error { return &classError{err: err, class: Unfixable} }

// Throttled is weather whose end is known: try again after this time.
func Throttled(err error, after time.Duration) error {
	return &classError{err: err, class: Retryable, after: after}
}

// RetryAfter is the time a Throttled error asks to wait; 0 for others.
func RetryAfter(err error) time.Duration {
	var c classed
	if errors.As(err, &c) {
		if c, ok := c.(*classError); ok {
			return c.after
		}
	}
	return 0
}

// classed is an error that knows its class. Of several in a chain the
// outermost speaks: bad events that were refused because of weather are bad
// events.
type classed interface {
	error
	errorClass() Class
}

type classError struct {
	err   error
	class Class
	after time.Duration
}

func (e *classError) Error() string { return e.err.Error() }
func (e *classError) Unwrap() error { return e.err }

func (e *classError) errorClass() Class { return e.class }

// RefusedError is what a handler returns when nothing is left of its batch but
// bad events.
type RefusedError struct {
	Events int   // how many
	First  error // why the first of them is bad
}

func (e *RefusedError) Error() string {
	if e.Events == 1 {
		return fmt.Sprintf("bad event: %v", e.First)
	}
	return fmt.Sprintf("%d bad events, the first: %v", e.Events, e.First)
}

func (e *RefusedError) Unwrap() error { return e.First }

func (e *RefusedError) errorClass() Class { return BadEvent }
