package eventjson

import (
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// OriginalID is the attribute that keeps an id which is no UUID.
const OriginalID = "original_id"

// maxAttributes bounds the metadata of one event.
const maxAttributes = 1024

// A FieldError says that a field does not hold what it should.
type FieldError struct {
	Field  string // as it was called; "": the event as a whole
	Reason string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Decode reads one JSON object into the event. Fields that JSON can give and
// does not are emptied; Due, Offset, Key and Raw are left alone. Strings point
// into a copy of data. The memory of e.Attributes is used again, so e must not
// be an event that is still under way.
//
// Errors are a *SyntaxError or a *FieldError; what the event holds then is
// undefined. They never contain more of the data than a field's name or an
// unknown level.
func Decode(data []byte, e *event.Event) error { return DecodeString(string(data), e) }

// DecodeString is Decode for text that does not change: strings point into it,
// and nothing is copied.
func DecodeString(text string, e *event.Event) error {
	*e = event.Event{Attributes: e.Attributes[:0], Due: e.Due, Offset: e.Offset, Key: e.Key, Raw: e.Raw}
	return Merge(text, e)
}

// Merge is DecodeString that leaves alone what is not in the text: only null
// empties a field or takes an attribute out.
func Merge(text string, e *event.Event) error {
	s := scanner{text: text}
	if c := s.next(); c != '{' {
		if c == 0 {
			return s.fail("want a JSON object")
		}
		return s.fail("want a JSON object, got " + s.kind())
	}
	if err := s.object(e); err != nil {
		return err
	}
	if s.space(); s.at < len(s.text) {
		return s.fail("something follows the JSON object")
	}
	return nil
}

func (s *scanner) object(e *event.Event) error {
	s.at++
	for first := true; ; first = false {
		more, err := s.entry(first, '}')
		if err != nil || !more {
			return err
		}
		name, err := s.key()
		if err != nil {
			return err
		}
		if err := s.field(name, e); err != nil {
			return err
		}
	}
}

// field reads the value of a field of the event.
func (s *scanner) field(name string, e *event.Event) error {
	switch name {
	case "id", "eventId", "event_id":
		return s.id(name, e)
	case "timestamp", "time":
		return s.timestamp(name, e)
	case "level":
		return s.level(name, e)
	case "source":
		return s.textField(name, &e.Source)
	case "host", "hostname":
		return s.textField(name, &e.Host)
	case "message":
		return s.textField(name, &e.Message)
	case "correlation_id", "correlationId":
		return s.textField(name, &e.CorrelationID)
	case "trace_id", "traceId":
		return s.textField(name, &e.TraceID)
	case "span_id", "spanId":
		return s.textField(name, &e.SpanID)
	case "organisation", "organization", "organisationId", "organizationId", "organisation_id", "organization_id":
		return s.textField(name, &e.Organisation)
	case "stack_trace", "stackTrace":
		return s.textField(name, &e.StackTrace)
	case "metadata", "attributes":
		return s.metadata(name, e)
	default:
		return s.attribute(name, e, 1)
	}
}

// textField reads text, or null as no text.
func (s *scanner) textField(name string, to *string) error {
	var err error
	switch s.peek() {
	case '"':
		*to, err = s.string()
	case 'n':
		*to, err = "", s.word("null")
	default:
		err = s.wrong(name, "text")
	}
	return err
}

// wrong is the error for a value of the wrong type, or for what is no value.
func (s *scanner) wrong(name, want string) error {
	got := s.kind()
	if err := s.skip(1); err != nil {
		return err
	}
	return &FieldError{Field: name, Reason: "want " + want + ", got " + got}
}

func (s *scanner) id(name string, e *event.Event) error {
	var text string
	if err := s.textField(name, &text); err != nil {
		return err
	}
	e.ID = uuid.Nil
	if text == "" {
		return nil
	}
	if len(text) == 36 {
		if id, err := uuid.Parse(text); err == nil {
			e.ID = id
			return nil
		}
	}
	e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(text))
	s.names.Set(e, OriginalID, event.String(text))
	return nil
}

func (s *scanner) level(name string, e *event.Event) error {
	var text string
	if err := s.textField(name, &text); err != nil {
		return err
	}
	e.Level = event.LevelUnset
	if text == "" {
		return nil
	}
	if len(text) > 32 {
		return &FieldError{Field: name, Reason: fmt.Sprintf("unknown level, a text of %d bytes", len(text))}
	}
	level, err := event.ParseLevel(text)
	if err != nil {
		return &FieldError{Field: name, Reason: err.Error()}
	}
	e.Level = level
	return nil
}

func (s *scanner) metadata(name string, e *event.Event) error {
	switch s.peek() {
	case 'n':
		return s.word("null")
	case '{':
	default:
		return s.wrong(name, "an object")
	}
	s.at++
	for first := true; ; first = false {
		more, err := s.entry(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if err := s.attribute(key, e, 2); err != nil {
			return err
		}
	}
}

// attribute reads a value into the metadata; null takes it out.
func (s *scanner) attribute(key string, e *event.Event, depth int) error {
	if s.peek() == 'n' {
		s.names.Remove(e, key)
		return s.word("null")
	}
	value, err := s.value(key, depth)
	if err != nil {
		return err
	}
	if e.Attributes == nil {
		e.Attributes = make([]event.Attribute, 0, 8) // what most events have, in one allocation
	}
	s.names.Set(e, key, value)
	if len(e.Attributes) > maxAttributes {
		return &FieldError{Field: "metadata", Reason: fmt.Sprintf("at most %d attributes are taken", maxAttributes)}
	}
	return nil
}

func (s *scanner) value(key string, depth int) (event.Value, error) {
	switch s.peek() {
	case '"':
		text, err := s.string()
		return event.String(text), err
	case 't':
		return event.Bool(true), s.word("true")
	case 'f':
		return event.Bool(false), s.word("false")
	case '{', '[':
		start := s.at
		err := s.skip(depth)
		return event.String(s.text[start:s.at]), err
	default:
		return s.numberValue(key)
	}
}

func (s *scanner) numberValue(key string) (event.Value, error) {
	text, whole, err := s.number()
	if err != nil {
		return event.Value{}, err
	}
	if whole {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return event.String(text), nil
		}
		return event.Int(n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return event.Value{}, &FieldError{Field: key, Reason: "the number is too large"}
	}
	return event.Float(f), nil
}
