package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var errMalformed = errors.New("the JSON is malformed")

// read decodes an event by hand: it knows its fields, looks at the form of the
// others, and copies nothing.
func (e *entry) read(line []byte) error {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, " \t\r\n"), []byte{'{'})
	if !ok {
		return errMalformed
	}
	for first := true; ; first = false {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if len(rest) > 0 && rest[0] == '}' {
			if len(bytes.TrimLeft(rest[1:], " \t\r\n")) > 0 {
				return errMalformed
			}
			return nil
		}
		if !first {
			if rest, ok = bytes.CutPrefix(rest, []byte{','}); !ok {
				return errMalformed
			}
		}
		name, after, err := text(bytes.TrimLeft(rest, " \t\r\n"))
		if err != nil {
			return err
		}
		after, ok = bytes.CutPrefix(bytes.TrimLeft(after, " \t\r\n"), []byte{':'})
		if !ok {
			return errMalformed
		}
		if rest, err = e.field(name, bytes.TrimLeft(after, " \t\r\n")); err != nil {
			return err
		}
	}
}

// field reads a value and returns what follows it.
func (e *entry) field(name, from []byte) (rest []byte, err error) {
	var at []byte
	switch string(name) {
	case "level":
		e.level, rest, err = text(from)
	case "source":
		e.source, rest, err = text(from)
	case "message":
		e.message, rest, err = text(from)
	case "eventId":
		e.stated, rest, err = text(from)
	case "hostname", "correlationId", "stackTrace":
		_, rest, err = text(from)
	case "timestamp":
		if at, rest, err = text(from); err == nil {
			_, err = time.Parse(time.RFC3339Nano, string(at))
		}
	default:
		rest, err = skip(from)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rest, nil
}

// text reads a string.
func text(from []byte) (value, rest []byte, err error) {
	if len(from) == 0 || from[0] != '"' {
		return nil, nil, errMalformed
	}
	end := bytes.IndexByte(from[1:], '"') + 1
	if end == 0 {
		return nil, nil, errMalformed
	}
	if bytes.IndexByte(from[1:end], '\\') < 0 {
		return from[1:end], from[end+1:], nil
	}
	for end = 1; end < len(from) && from[end] != '"'; end++ {
		if from[end] == '\\' {
			end++
		}
	}
	if end >= len(from) {
		return nil, nil, errMalformed
	}
	var s string
	err = json.Unmarshal(from[:end+1], &s) // rare
	return []byte(s), from[end+1:], err
}

// skip passes over a value whose form alone is looked at, and that roughly.
func skip(from []byte) (rest []byte, err error) {
	depth := 0
	for i := 0; i < len(from); i++ {
		switch from[i] {
		case '"':
			_, after, err := text(from[i:])
			if err != nil {
				return nil, err
			}
			i = len(from) - len(after) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return from[i:], nil
			}
		case ',':
			if depth == 0 {
				return from[i:], nil
			}
		}
	}
	return nil, errMalformed
}
