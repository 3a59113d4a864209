package eventjson

import "millrace/engine/event"

// Walk reads one JSON object of any names and hands its fields to visit, in
// order, a name that comes twice twice. It is for objects that are no events
// yet, such as log lines of foreign programs. Values are what Decode makes of
// attributes: an object or array is its JSON text, and nested is true then;
// null is left out. Names and texts point into text where nothing in them had
// to be replaced.
//
// Errors are a *SyntaxError, a *FieldError or what visit returned, which ends
// it. By then visit may have been called.
func Walk(text string, visit func(name string, value event.Value, nested bool) error) error {
	s := scanner{text: text}
	if s.next() != '{' {
		if s.peek() == 0 {
			return s.fail("want a JSON object")
		}
		return s.fail("want a JSON object, got " + s.kind())
	}
	s.at++
	for first := true; ; first = false {
		more, err := s.entry(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := s.visit(visit); err != nil {
			return err
		}
	}
	if s.space(); s.at < len(s.text) {
		return s.fail("something follows the JSON object")
	}
	return nil
}

func (s *scanner) visit(visit func(string, event.Value, bool) error) error {
	name, err := s.key()
	if err != nil {
		return err
	}
	c := s.peek()
	if c == 'n' {
		return s.word("null")
	}
	value, err := s.value(name, 1)
	if err != nil {
		return err
	}
	return visit(name, value, c == '{' || c == '[')
}
