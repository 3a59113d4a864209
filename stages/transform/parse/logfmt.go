package parse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"millrace/engine/event"
)

// logfmtFormat is key=value pairs between white space. A key alone is a flag that is
// true, but a text without any pair is no logfmt: every sentence would be.
type logfmtFormat struct{}

func newLogfmt(*Config, directory) (format, error) { return logfmtFormat{}, nil }

var (
	errNoPair    = errors.New("has no key=value")
	errNoKey     = errors.New("a value without a key")
	errKeyQuote  = errors.New("a quotation mark in a key")
	errOpenQuote = errors.New("a quotation mark that does not end")
	errEscape    = errors.New("an unknown escape in quotation marks")
)

func (logfmtFormat) parse(text string, w *worker) error {
	w.apart = false
	pairs, i := false, 0
	for {
		for i < len(text) && text[i] <= ' ' {
			i++
		}
		if i == len(text) {
			break
		}
		start := i
		for i < len(text) && text[i] > ' ' && text[i] != '=' && text[i] != '"' {
			i++
		}
		key := text[start:i]
		if i == len(text) || text[i] <= ' ' {
			if err := w.flag(key); err != nil {
				return err
			}
			continue
		}
		if err := w.logfmtPair(text, key, &i); err != nil {
			return fmt.Errorf("at byte %d: %w", i, err)
		}
		pairs = true
	}
	if !pairs {
		return errNoPair
	}
	return nil
}

// flag takes a key alone. One that is the name of a field of the event says
// nothing.
func (w *worker) flag(key string) error {
	switch f := w.fields[key]; {
	case f == nil:
		return w.attribute(key, event.Bool(true))
	case f.to == toAttribute:
		return w.put(f, event.Bool(true))
	}
	return nil
}

// logfmtPair reads the value of a key; *at is behind the key, and goes behind
// the value.
func (w *worker) logfmtPair(text, key string, at *int) error {
	switch {
	case text[*at] == '"':
		return errKeyQuote
	case key == "":
		return errNoKey
	}
	i := *at + 1
	if i < len(text) && text[i] == '"' {
		value, end, err := w.quoted(text, i+1)
		if *at = end; err != nil {
			return err
		}
		if f := w.fields[key]; f != nil {
			return w.textField(f, value)
		}
		return w.attribute(key, event.String(value))
	}
	start := i
	for i < len(text) && text[i] > ' ' {
		i++
	}
	*at = i
	if f := w.fields[key]; f != nil {
		return w.guess(f, text[start:i])
	}
	return w.attribute(key, infer(text[start:i]))
}

// quoted reads a text in quotation marks, from behind the first one. It is cut
// from the line unless something in it has to be replaced.
func (w *worker) quoted(text string, start int) (value string, end int, err error) {
	escaped := false
	for i := start; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			if value = text[start:i]; escaped {
				value, err = w.unescape(value)
			}
			return value, i + 1, err
		case c == '\\':
			escaped = true
			i++
		}
	}
	return "", len(text), errOpenQuote
}

// unescape writes a text without its escapes: those of JSON, and one more quotation mark.
func (w *worker) unescape(s string) (string, error) {
	a := &w.arena
	a.room(len(s)) // an escape is never shorter than what it stands for
	start := len(a.text)
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			a.text = append(a.text, s[i])
			i++
			continue
		}
		if i+1 >= len(s) {
			return "", errEscape
		}
		if j := strings.IndexByte(`"'\/bfnrt`, s[i+1]); j >= 0 {
			a.text = append(a.text, "\"'\\/\b\f\n\r\t"[j])
			i += 2
			continue
		}
		r, size := unicodeEscape(s[i:])
		if size == 0 {
			return "", errEscape
		}
		a.text = utf8.AppendRune(a.text, r)
		i += size
	}
	return a.since(start), nil
}

// unicodeEscape reads \u1234, or two of them that make one character.
func unicodeEscape(s string) (r rune, size int) {
	r, ok := fourDigits(s)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if low, ok := fourDigits(s[6:]); ok {
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			return both, 12
		}
	}
	return utf8.RuneError, 6
}

func fourDigits(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}
