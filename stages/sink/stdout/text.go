package stdout

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace/engine/event"
)

// appendText appends an event as a line for people, without the line break:
//
//	2026-03-01 12:00:00.123 WARN  payments card declined user_id=u7 amount=120
//
// Control characters are shown as escapes, so that an event can neither break
// the line nor steer a terminal.
func appendText(buf []byte, e *event.Event) []byte {
	if !e.Time.IsZero() {
		buf = append(e.Time.UTC().AppendFormat(buf, "2006-01-02 15:04:05.000"), ' ')
	}
	buf = append(buf, e.Level.String()...)
	buf = append(buf, "      "[min(len(e.Level.String()), 5):]...)
	if e.Source != "" {
		buf = append(appendShown(buf, e.Source), ' ')
	}
	buf = appendShown(buf, e.Message)
	buf = appendPair(buf, "host", e.Host)
	buf = appendPair(buf, "organisation", e.Organisation)
	buf = appendPair(buf, "correlation_id", e.CorrelationID)
	buf = appendPair(buf, "trace_id", e.TraceID)
	buf = appendPair(buf, "span_id", e.SpanID)
	for i := range e.Attributes {
		a := &e.Attributes[i]
		buf = append(appendShown(append(buf, ' '), a.Key), '=')
		if a.Value.Kind() == event.KindString {
			buf = appendValue(buf, a.Value.Str())
		} else {
			buf = a.Value.AppendText(buf)
		}
	}
	return appendPair(buf, "stack_trace", e.StackTrace)
}

func appendPair(buf []byte, key, value string) []byte {
	if value == "" {
		return buf
	}
	buf = append(append(append(buf, ' '), key...), '=')
	return appendValue(buf, value)
}

// appendValue puts in quotation marks what would not be seen as one value.
func appendValue(buf []byte, s string) []byte {
	if s == "" || strings.ContainsAny(s, " \"=") || !shown(s) {
		return strconv.AppendQuote(buf, s)
	}
	return append(buf, s...)
}

func appendShown(buf []byte, s string) []byte {
	if shown(s) {
		return append(buf, s...)
	}
	start := len(buf)
	buf = strconv.AppendQuote(buf, s)
	buf = append(buf[:start], buf[start+1:]...) // without the quotation marks
	return buf[:len(buf)-1]
}

// shown says whether all of s is fit to be printed as it is.
func shown(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !strconv.IsPrint(r) {
			return false
		}
		i += size
	}
	return true
}
