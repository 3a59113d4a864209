package lines

import (
	"bytes"
	"time"
	"unicode/utf8"
	"unsafe"

	"millrace/engine/event"
)

// Page is the memory of one parcel: bytes as they were read, and the events in
// them. It is used again when the parcel is settled. For one goroutine at a
// time.
type Page struct {
	Buf    []byte
	Events []event.Event
	// Bytes is how large the events are together, as Event.Size counts.
	Bytes int

	stamp      Stamp
	due        int64
	valid      bool // what is added is known to be valid UTF-8
	groups     bool // events may have several lines
	attributes []event.Attribute
}

// Stamp is what all events of a page have in common.
type Stamp struct {
	Time   time.Time // when they were read
	Source string
	Host   string
	// File is the path for the attributes `file` and `offset`; "": the events
	// have neither.
	File string
}

// Reset empties the page for other events.
func (p *Page) Reset(s Stamp) {
	p.Events, p.attributes = p.Events[:0], p.attributes[:0]
	p.stamp, p.due, p.Bytes = s, s.Time.UnixNano(), 0
}

// Grow makes Buf n bytes long. What was in it is lost.
func (p *Page) Grow(n int) []byte {
	if cap(p.Buf) < n {
		p.Buf = make([]byte, n)
	}
	p.Buf = p.Buf[:n]
	return p.Buf
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// add makes an event of a line, or of a group of lines. part is its number if
// it is a part of a longer line, else 0.
func (p *Page) add(line []byte, offset int64, part int) {
	raw := chomp(line)
	raw = raw[:len(raw):len(raw)]
	text := raw
	if offset == 0 {
		text = bytes.TrimPrefix(text, byteOrderMark)
	}
	n := len(p.Events)
	if n == cap(p.Events) {
		p.Events = append(p.Events, event.Event{})
	}
	p.Events = p.Events[:n+1]
	e := &p.Events[n]
	*e = event.Event{
		Time: p.stamp.Time, Due: p.due, Offset: offset, Source: p.stamp.Source, Host: p.stamp.Host,
		Message: p.mend(text), Raw: raw,
	}
	p.describe(e, part)
	p.Bytes += e.Size()
}

// mend is a message as it may go on: valid UTF-8, lines of a group divided by
// plain line feeds. What is well already is not copied.
func (p *Page) mend(text []byte) string {
	if !p.valid && !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if p.groups {
		text = plainFeeds(text)
	}
	return unsafe.String(unsafe.SliceData(text), len(text))
}

func plainFeeds(text []byte) []byte {
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}

// describe sets the attributes.
func (p *Page) describe(e *event.Event, part int) {
	n := 0
	if p.stamp.File != "" {
		n = 2
	}
	if part > 0 {
		n++
	}
	if n == 0 {
		return
	}
	e.Attributes = p.room(n)
	if p.stamp.File != "" {
		e.Attributes[0] = event.Attribute{Key: "file", Value: event.String(p.stamp.File)}
		e.Attributes[1] = event.Attribute{Key: "offset", Value: event.Int(e.Offset)}
	}
	if part > 0 {
		e.Attributes[n-1] = event.Attribute{Key: "line_part", Value: event.Int(int64(part))}
	}
}

// room is a place for n attributes. Where memory has to be got, events that
// were added before keep the old.
func (p *Page) room(n int) []event.Attribute {
	if len(p.attributes)+n > cap(p.attributes) {
		p.attributes = make([]event.Attribute, 0, max(16, 2*cap(p.attributes)))
	}
	k := len(p.attributes)
	p.attributes = p.attributes[:k+n]
	return p.attributes[k : k+n : k+n]
}
