// Package eventjson is how an event looks as JSON: one object, written with
// the names in the left column and read with any of the names in a row.
//
//	id               eventId, event_id
//	timestamp        time
//	level
//	source
//	host             hostname
//	message
//	correlation_id   correlationId
//	trace_id         traceId
//	span_id          spanId
//	organisation     organization; these two with Id or _id behind
//	stack_trace      stackTrace
//	metadata         attributes
//
// Written, empty fields are left out, times are RFC 3339 in UTC, and text that
// is no UTF-8 is mended with U+FFFD, as encoding/json does.
//
// Read, types are strict: each field wants text, the metadata an object, the
// timestamp RFC 3339 (UTC when it names no zone) or whole milliseconds since
// 1970. null is the same as leaving out. Nothing that arrives is thrown away:
//
//   - An id that is no UUID becomes a UUIDv5 of it; the attribute original_id
//     keeps it.
//   - A field that is not in the table becomes an attribute.
//   - An attribute that is an object or an array is kept as its JSON text, and
//     so is a whole number that does not fit 64 bits.
//   - Of a name that comes twice the last wins, also across aliases; two
//     metadata objects become one.
//
// Both directions are on the hot path of sources and sinks: Append allocates
// nothing, Decode the memory that the event keeps.
package eventjson

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// Append appends the event to buf as one JSON object, without a line break.
// Due, Offset, Key and Raw are not part of it.
func Append(buf []byte, e *event.Event) []byte {
	start := len(buf)
	if e.ID != uuid.Nil {
		buf = append(buf, `,"id":"`...)
		buf = AppendID(buf, e.ID)
		buf = append(buf, '"')
	}
	if !e.Time.IsZero() {
		buf = append(buf, `,"timestamp":"`...)
		buf = e.Time.UTC().AppendFormat(buf, time.RFC3339Nano)
		buf = append(buf, '"')
	}
	buf = appendField(buf, `,"level":`, e.Level.String())
	buf = appendField(buf, `,"source":`, e.Source)
	buf = appendField(buf, `,"host":`, e.Host)
	buf = appendField(buf, `,"message":`, e.Message)
	buf = appendField(buf, `,"correlation_id":`, e.CorrelationID)
	buf = appendField(buf, `,"trace_id":`, e.TraceID)
	buf = appendField(buf, `,"span_id":`, e.SpanID)
	buf = appendField(buf, `,"organisation":`, e.Organisation)
	buf = appendField(buf, `,"stack_trace":`, e.StackTrace)
	if len(e.Attributes) > 0 {
		buf = append(buf, `,"metadata":`...)
		buf = appendMetadata(buf, e.Attributes)
	}
	if len(buf) == start {
		buf = append(buf, '{')
	}
	buf[start] = '{' // in place of the first comma
	return append(buf, '}')
}

// AppendID appends an id as text, without quotation marks.
func AppendID(buf []byte, id uuid.UUID) []byte {
	buf = append(hex.AppendEncode(buf, id[0:4]), '-')
	buf = append(hex.AppendEncode(buf, id[4:6]), '-')
	buf = append(hex.AppendEncode(buf, id[6:8]), '-')
	buf = append(hex.AppendEncode(buf, id[8:10]), '-')
	return hex.AppendEncode(buf, id[10:16])
}

func appendField(buf []byte, name, value string) []byte {
	if value == "" {
		return buf
	}
	return appendString(append(buf, name...), value)
}

func appendMetadata(buf []byte, attributes []event.Attribute) []byte {
	for i := range attributes {
		buf = append(buf, ",{"[b2i(i == 0)])
		buf = appendString(buf, attributes[i].Key)
		buf = append(buf, ':')
		buf = appendValue(buf, attributes[i].Value)
	}
	return append(buf, '}')
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendValue(buf []byte, v event.Value) []byte {
	switch v.Kind() {
	case event.KindInt:
		return strconv.AppendInt(buf, v.Int(), 10)
	case event.KindFloat:
		return appendFloat(buf, v.Float())
	case event.KindBool:
		return strconv.AppendBool(buf, v.Bool())
	default:
		return appendString(buf, v.Str())
	}
}

// appendFloat writes a number so that it is read as a float again (2.0, not 2).
// What JSON has no number for becomes text.
func appendFloat(buf []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		buf = strconv.AppendFloat(append(buf, '"'), f, 'g', -1, 64)
		return append(buf, '"')
	}
	start := len(buf)
	buf = strconv.AppendFloat(buf, f, 'g', -1, 64)
	for _, c := range buf[start:] {
		if c == '.' || c == 'e' {
			return buf
		}
	}
	return append(buf, ".0"...)
}

// AppendText appends a JSON string, as text looks within an event.
func AppendText(buf []byte, s string) []byte { return appendString(buf, s) }

const hexDigits = "0123456789abcdef"

func appendString(buf []byte, s string) []byte {
	buf = append(buf, '"')
	done := 0
	for i := special(s, 0); i < len(s); i = special(s, i) {
		if c := s[i]; c < utf8.RuneSelf {
			buf = appendEscape(append(buf, s[done:i]...), c)
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			buf = append(append(buf, s[done:i]...), `\ufffd`...)
			done = i + size
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript
			buf = append(append(buf, s[done:i]...), `\u202`...)
			buf = append(buf, hexDigits[r&0xf])
			done = i + size
		}
		i += size
	}
	return append(append(buf, s[done:]...), '"')
}

func appendEscape(buf []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(buf, '\\', c)
	case '\n':
		return append(buf, `\n`...)
	case '\r':
		return append(buf, `\r`...)
	case '\t':
		return append(buf, `\t`...)
	default:
		return append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}
