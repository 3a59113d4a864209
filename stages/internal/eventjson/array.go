package eventjson

import (
	"io"

	"millrace/engine/event"
)

// Array reads a JSON array of events, one after the other.
type Array struct {
	s     scanner
	begun bool
}

// NewArray begins to read an array. Events point into text, which must not
// change while they are used.
func NewArray(text string) (*Array, error) {
	a := &Array{s: scanner{text: text}}
	if c := a.s.next(); c != '[' {
		if c == 0 {
			return nil, a.s.fail("want a JSON array")
		}
		return nil, a.s.fail("want a JSON array, got " + a.s.kind())
	}
	a.s.at++
	return a, nil
}

// Next reads the next element into the event, as DecodeString does. raw is its
// text. bad says why it is no event: the elements behind it can be read all
// the same. err is io.EOF behind the last one, or a *SyntaxError that makes the
// rest unreadable.
func (a *Array) Next(e *event.Event) (raw string, bad, err error) {
	s := &a.s
	more, err := s.entry(!a.begun, ']')
	if err != nil {
		return "", nil, err
	}
	a.begun = true
	if !more {
		if s.space(); s.at < len(s.text) {
			return "", nil, s.fail("something follows the JSON array")
		}
		return "", nil, io.EOF
	}
	start := s.at
	if bad = a.read(e); bad == nil {
		return s.text[start:s.at], nil, nil
	}
	// What is wrong may be the text or only what it says.
	s.at = start
	if err := s.skip(1); err != nil {
		return "", nil, err
	}
	return s.text[start:s.at], bad, nil
}

func (a *Array) read(e *event.Event) error {
	a.s.names = event.Names{}
	*e = event.Event{Attributes: e.Attributes[:0], Due: e.Due, Offset: e.Offset, Key: e.Key, Raw: e.Raw}
	if a.s.peek() != '{' {
		return &FieldError{Reason: "want a JSON object, got " + a.s.kind()}
	}
	return a.s.object(e)
}
