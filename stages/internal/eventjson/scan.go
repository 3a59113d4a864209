package eventjson

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"millrace/engine/event"
)

// maxDepth is how deeply objects and arrays may be nested.
const maxDepth = 64

// scanner reads JSON text from the front. Its methods expect white space to be
// skipped before them.
type scanner struct {
	text  string
	at    int
	names event.Names // of the event that is read
}

// SyntaxError says that the text is no JSON, and where it stops being it.
type SyntaxError struct {
	Offset int // bytes from the start
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

func (s *scanner) fail(reason string) error {
	if s.at >= len(s.text) {
		reason = "the JSON ends too early"
	}
	return &SyntaxError{Offset: s.at, Reason: reason}
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek is the next byte; 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// next is the next byte after white space; 0 at the end.
func (s *scanner) next() byte {
	s.space()
	return s.peek()
}

// entry goes to the next entry of an object or array that ends with close:
// false when there is none. first says that none has been read yet.
func (s *scanner) entry(first bool, close byte) (bool, error) {
	switch c := s.next(); {
	case c == close:
		s.at++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.fail("want a comma or the end of the list")
	}
	s.at++
	s.space()
	return true, nil
}

// key reads the name of a field and the colon, and goes to its value.
func (s *scanner) key() (string, error) {
	if s.peek() != '"' {
		return "", s.fail("want the name of a field in quotation marks")
	}
	name, err := s.string()
	if err != nil {
		return "", err
	}
	if s.next() != ':' {
		return "", s.fail("want a colon after the name of a field")
	}
	s.at++
	s.space()
	return name, nil
}

// string reads a string. It is cut from the text unless something in it has to
// be replaced.
func (s *scanner) string() (string, error) {
	s.at++
	start, foreign := s.at, false
	for i := special(s.text, start); i < len(s.text); i = special(s.text, i) {
		switch c := s.text[i]; {
		case c >= utf8.RuneSelf:
			foreign = true
			i++
		case c == '"':
			if cut := s.text[start:i]; !foreign || utf8.ValidString(cut) {
				s.at = i + 1
				return cut, nil
			}
			return s.mended()
		case c == '\\':
			return s.mended()
		default:
			s.at = i
			return "", s.fail("a control character must be escaped in a string")
		}
	}
	s.at = len(s.text)
	return "", s.fail("")
}

// mended reads a string, from behind its quotation mark, into memory of its
// own: escapes resolved, what is no UTF-8 replaced.
func (s *scanner) mended() (string, error) {
	var buf []byte
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return string(buf), nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			buf = utf8.AppendRune(buf, r)
		case c < 0x20:
			return "", s.fail("a control character must be escaped in a string")
		default:
			r, size := utf8.DecodeRuneInString(s.text[s.at:])
			buf = utf8.AppendRune(buf, r)
			s.at += size
		}
	}
	return "", s.fail("")
}

// escape reads one escape, or two that make one character together.
func (s *scanner) escape() (rune, error) {
	if s.at++; s.at >= len(s.text) {
		return 0, s.fail("")
	}
	c := s.text[s.at]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		s.at++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, s.fail("unknown escape in a string")
	}
	s.at++
	high, err := s.hex()
	if err != nil || !utf16.IsSurrogate(high) {
		return high, err
	}
	if strings.HasPrefix(s.text[s.at:], `\u`) {
		back := s.at
		s.at += 2
		low, err := s.hex()
		if err != nil {
			return 0, err
		}
		if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
			return r, nil
		}
		s.at = back // a character of its own
	}
	return utf8.RuneError, nil
}

func (s *scanner) hex() (rune, error) {
	var r rune
	for range 4 {
		if s.at >= len(s.text) {
			return 0, s.fail("")
		}
		i := strings.IndexByte("0123456789abcdefABCDEF", s.text[s.at])
		if i < 0 {
			return 0, s.fail("want four hexadecimal digits")
		}
		if i > 15 {
			i -= 6
		}
		r = r<<4 | rune(i)
		s.at++
	}
	return r, nil
}

// number reads a number and says whether it is a whole one, written without
// point and exponent.
func (s *scanner) number() (text string, whole bool, err error) {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return "", false, s.fail("want a digit")
	}
	whole = true
	if s.peek() == '.' {
		whole = false
		s.at++
		if !s.digits() {
			return "", false, s.fail("want a digit after the point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		whole = false
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return "", false, s.fail("want a digit in the exponent")
		}
	}
	return s.text[start:s.at], whole, nil
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && s.text[s.at]-'0' <= 9 {
		s.at++
	}
	return s.at > start
}

func (s *scanner) word(word string) error {
	if !strings.HasPrefix(s.text[s.at:], word) {
		return s.fail("want a JSON value")
	}
	s.at += len(word)
	return nil
}

// skip reads any value; its text is what lies between. depth counts what it
// is in.
func (s *scanner) skip(depth int) error {
	var err error
	switch c := s.peek(); c {
	case '{', '[':
		return s.skipList(c, depth)
	case '"':
		_, err = s.string()
	case 't':
		err = s.word("true")
	case 'f':
		err = s.word("false")
	case 'n':
		err = s.word("null")
	default:
		_, _, err = s.number()
	}
	return err
}

func (s *scanner) skipList(open byte, depth int) error {
	if depth >= maxDepth {
		return s.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	s.at++
	for first := true; ; first = false {
		more, err := s.entry(first, open+2) // ']' and '}' come two behind
		if err != nil || !more {
			return err
		}
		if open == '{' {
			if _, err := s.key(); err != nil {
				return err
			}
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

// kind names the value that comes next, for errors.
func (s *scanner) kind() string {
	switch c := s.peek(); c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "text"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return "a number"
	default:
		return "something that is no JSON"
	}
}
