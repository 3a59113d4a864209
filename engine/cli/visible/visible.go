// Package visible makes text fit to be shown on a terminal that somebody else
// wrote: a producer, a header, another process. To a terminal it is otherwise
// not only text: it can move the cursor, take back what stands there, set the
// window's title, or turn the order of a line around.
//
// What nobody sees becomes a space, if it separates words, or else the sign for
// what cannot be shown, �: one rune for one, so that columns stay.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line is a text on one line.
func Line(s string) string {
	return strings.Map(seen, s)
}

// Text is a text that may have lines of its own.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return seen(r)
	}, s)
}

// JSON is a JSON text on lines of its own, which says the same as before:
// strings keep in escaped form what nobody sees.
func JSON(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case unicode.IsGraphic(r) && r != utf8.RuneError || r == '\n':
			b.WriteRune(r)
		case r < ' ': // between values; strings have none
			b.WriteByte(' ')
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// seen is what stands for a rune. What is graphic are letters, marks, numbers,
// signs and spaces: no control, and nothing that turns the writing direction.
func seen(r rune) rune {
	switch {
	case unicode.IsGraphic(r):
		return r
	case unicode.IsSpace(r):
		return ' '
	default:
		return utf8.RuneError
	}
}
