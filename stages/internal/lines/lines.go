// Package lines cuts bytes into lines and makes events of them. The events
// point into the bytes; nothing is copied but what has to be mended.
//
// A Rule says what belongs together: every line is an event, or, with Start or
// Continue, a line and those that continue it, such as a stack trace. A line
// longer than Max comes in parts, each an event that says which part it is: no
// byte is dropped, and no line, however long, has to fit into memory.
//
// Cutting has no memory of its own. What cannot be decided yet is left uncut,
// to be given again with what follows it; so the same bytes are cut in the same
// way however they arrive, and an event's offset says for good where it begins.
// Only a group that is ended because nothing came for a while depends on time.
package lines

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// Rule says how bytes become events.
type Rule struct {
	// Max is how many bytes an event may have, without its line's end.
	Max int
	// Start matches a line that begins an event; those that do not match
	// continue it. Nil: see Continue.
	Start *regexp.Regexp
	// Continue matches a line that continues the event before it. With Start
	// and Continue nil every line is an event.
	Continue *regexp.Regexp
	// MaxLines is how many lines an event may have, with Start or Continue.
	MaxLines int
}

// Place is where in a stream bytes begin.
type Place struct {
	Offset int64
	// Part is how many parts of the line at Offset have been cut already; 0:
	// it is the line's beginning.
	Part int
}

// End says what is known of what follows the bytes that are there.
type End uint8

// What may follow.
const (
	// More: anything may follow, what has no end yet is left uncut.
	More End = iota
	// Quiet: nothing came for a while. A group of lines is complete; a line
	// without its end is not.
	Quiet
	// Last: nothing follows. The rest is a line, or a part of one.
	Last
)

// Need is how many bytes have to be there at most so that an event can be cut.
func (r *Rule) Need() int {
	if r.Groups() {
		return 2*r.Max + 4
	}
	return r.Max + 2
}

// Groups reports whether an event may have several lines.
func (r *Rule) Groups() bool { return r.Start != nil || r.Continue != nil }

// Cut makes events of data, which begins at a place, and adds them to the page
// until it holds most of them. It returns the place of the first byte that was
// not cut. The page's events point into data.
func (r *Rule) Cut(p *Page, data []byte, at Place, end End, most int) Place {
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if end == Last {
		whole = data
	}
	valid := utf8.Valid(whole)
	p.groups = r.Groups()
	for pos := 0; pos < len(data) && len(p.Events) < most; {
		size, last := r.next(data[pos:], at.Part, end)
		if size == 0 {
			break
		}
		part := at.Part
		if part > 0 || !last {
			part++
		}
		p.valid = valid && (last || pos+size <= len(whole))
		p.add(data[pos:pos+size], at.Offset, part)
		pos += size
		at.Offset += int64(size)
		if at.Part = part; last {
			at.Part = 0
		}
	}
	return at
}

// next is how many bytes, line's end included, the event at the beginning of
// data has. 0: that cannot be said yet. last: a line ends with it.
func (r *Rule) next(data []byte, part int, end End) (size int, last bool) {
	size, long := r.line(data)
	switch {
	case size > 0 && part == 0 && r.Groups():
		return r.group(data, size, end), true
	case size > 0:
		return size, true
	case long, end == Last && len(data) > r.Max:
		return r.Max - split(data[:r.Max]), false
	case end == Last:
		return len(data), true
	}
	return 0, false
}

// line is the size of the line at the beginning of data, its end included; 0
// when the end is not there. long: the line has more than Max bytes.
func (r *Rule) line(data []byte) (size int, long bool) {
	n := bytes.IndexByte(data[:min(len(data), r.Max+2)], '\n') + 1
	if n == 0 {
		return 0, len(data) > r.Max+1
	}
	if n == r.Max+2 && data[r.Max] != '\r' {
		return 0, true
	}
	return n, false
}

// split is how many bytes at the end of text are the beginning of a character.
func split(text []byte) int {
	for n := 1; n < utf8.UTFMax && n < len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// group is the size of the group whose first line has this size.
func (r *Rule) group(data []byte, size int, end End) int {
	for lines := 1; lines < r.MaxLines; lines++ {
		line := data[size:]
		n, long := r.line(line)
		switch {
		case n > 0:
			line = line[:n]
		case long, len(line) == 0 && end != More, end == Quiet:
			return size // a line that is too long comes in parts of its own
		case end == More:
			return 0
		}
		if r.begins(line) || size+len(line) > r.Max {
			return size
		}
		size += len(line)
	}
	return size
}

// begins reports whether a line begins an event.
func (r *Rule) begins(line []byte) bool {
	line = chomp(line)
	if r.Start != nil {
		return r.Start.Match(line)
	}
	return !r.Continue.Match(line)
}

// chomp takes the line's end away.
func chomp(line []byte) []byte {
	n := len(line)
	if n > 0 && line[n-1] == '\n' {
		n--
		if n > 0 && line[n-1] == '\r' {
			n--
		}
	}
	return line[:n]
}
