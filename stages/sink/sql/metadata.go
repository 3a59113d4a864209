package sql

import (
	"math"
	"strconv"

	"millrace/engine/event"
)

// appendJSON writes attributes as a JSON object. Bytes that are not UTF-8 stay
// as they are: the database is to refuse them, not this function to change them.
func appendJSON(buf []byte, attributes []event.Attribute) []byte {
	buf = append(buf, '{')
	for i := range attributes {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendString(buf, attributes[i].Key)
		buf = append(buf, ':')
		buf = appendValue(buf, attributes[i].Value)
	}
	return append(buf, '}')
}

func appendValue(buf []byte, v event.Value) []byte {
	switch v.Kind() {
	case event.KindString:
		return appendString(buf, v.Str())
	case event.KindFloat:
		return appendFloat(buf, v.Float())
	default:
		return v.AppendText(buf)
	}
}

// appendFloat keeps a fraction on whole numbers, so that a float stays one, and
// writes what JSON has no number for as a string.
func appendFloat(buf []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(buf, strconv.FormatFloat(f, 'g', -1, 64))
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.AppendFloat(buf, f, 'f', 1, 64)
	}
	return strconv.AppendFloat(buf, f, 'g', -1, 64)
}

const hex = "0123456789abcdef"

func appendString(buf []byte, s string) []byte {
	buf = append(buf, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, s[start:i]...)
		start = i + 1
		if c >= ' ' {
			buf = append(buf, '\\', c)
		} else {
			buf = append(buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	buf = append(buf, s[start:]...)
	return append(buf, '"')
}
