package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
	"unsafe"

	"millrace/engine/event"
)

// stored is a batch as it was read back. The strings of its events point into
// the blob.
type stored struct {
	as     byte // the version of the blob
	lane   string
	runs   []run
	events []event.Event
	ends   []int // where each event's bytes end in the blob
	first  int   // where those of the first begin
}

// decode reads a blob. It fails when as much as one bit of it has changed.
func decode(blob []byte) (*stored, error) {
	if len(blob) < len(magic)+1+sumSize {
		return nil, fmt.Errorf("only %d bytes long", len(blob))
	}
	body, sum := blob[:len(blob)-sumSize], binary.LittleEndian.Uint32(blob[len(blob)-sumSize:])
	if string(body[:len(magic)]) != magic {
		return nil, errors.New("does not begin like a stored batch")
	}
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("its checksum is %08x, but %08x was stored", got, sum)
	}
	as := body[len(magic)]
	if as < 1 || as > version {
		return nil, fmt.Errorf("has version %d, this program knows up to %d", as, version)
	}
	c := &cursor{data: body, at: len(magic) + 1, as: as}
	s := c.batch()
	if c.at != len(body) {
		c.fail("bytes after the last event")
	}
	if c.err != nil {
		return nil, c.err
	}
	return s, nil
}

// without makes the blob of those events of s, read from blob, that keep says
// yes to: what remains when others are settled. It takes the bytes that were
// stored: the events may have been changed since.
func (s *stored) without(blob []byte, keep func(i int) bool) []byte {
	var origins []event.Origin
	var rest []byte
	i := 0
	for _, r := range s.runs {
		for range r.events {
			if keep(i) {
				origins = append(origins, r.origin)
				rest = append(rest, blob[s.start(i):s.ends[i]]...)
			}
			i++
		}
	}
	buf := appendHead(make([]byte, 0, len(blob)), s.as, s.lane)
	buf = appendRuns(buf, len(origins), func(i int) event.Origin { return origins[i] })
	return appendSum(append(buf, rest...))
}

func (s *stored) start(i int) int {
	if i == 0 {
		return s.first
	}
	return s.ends[i-1]
}

// The bytes that the shortest event, run and attribute take, so that a count
// that cannot be true is found out before memory is taken for it.
const (
	smallestEvent     = 16 + 1 + 5 + 9 + 2
	smallestRun       = 4
	smallestAttribute = 3
)

// cursor reads a blob from front to back. After a failure everything is zero.
type cursor struct {
	data  []byte
	at    int
	as    byte // the version
	err   error
	zone  *time.Location // of the last event that had one
	shift int
	slab  []event.Attribute
}

func (c *cursor) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("broken at byte %d: %s", c.at, what)
		c.at = len(c.data)
	}
}

func (c *cursor) batch() *stored {
	s := &stored{as: c.as, lane: c.text()}
	total := 0
	for range c.count(smallestRun) {
		n := c.uvarint()
		r := run{origin: event.Origin{Kind: c.text(), Name: c.text(), Partition: int32(c.varint())}}
		if n > uint64(len(c.data)) {
			c.fail("a run of too many events")
			return s
		}
		r.events = int(n)
		total += r.events
		s.runs = append(s.runs, r)
	}
	if total > (len(c.data)-c.at)/smallestEvent {
		c.fail("more events than there is room for")
		return s
	}
	s.first = c.at
	s.events, s.ends = make([]event.Event, total), make([]int, total)
	for i := range s.events {
		c.event(&s.events[i])
		s.ends[i] = c.at
	}
	return s
}

func (c *cursor) event(e *event.Event) {
	copy(e.ID[:], c.take(len(e.ID)))
	e.Level = event.Level(c.byte())
	e.Time = c.time()
	e.Due, e.Offset = c.varint(), c.varint()
	e.Source, e.Host, e.Message = c.text(), c.text(), c.text()
	e.CorrelationID, e.TraceID, e.SpanID = c.text(), c.text(), c.text()
	e.Organisation, e.StackTrace, e.Key = c.text(), c.text(), c.text()
	if n := c.uvarint(); n > 0 {
		raw := c.take(c.within(n - 1))
		e.Raw = raw[:len(raw):len(raw)]
	}
	if n := c.count(smallestAttribute); n > 0 {
		e.Attributes = c.attributes(n)
		for i := range e.Attributes {
			e.Attributes[i] = event.Attribute{Key: c.text(), Value: c.value()}
		}
	}
	if c.as > 1 {
		e.Replays = int32(min(c.uvarint(), math.MaxInt32))
	}
}

// attributes cuts n from a slab, since most events have few.
func (c *cursor) attributes(n int) []event.Attribute {
	if n > len(c.slab) {
		c.slab = make([]event.Attribute, max(n, 1024))
	}
	cut := c.slab[:n:n]
	c.slab = c.slab[n:]
	return cut
}

func (c *cursor) time() time.Time {
	seconds, nanos, shift := c.varint(), c.uvarint(), c.varint()
	if nanos >= 1e9 || shift <= -86400*2 || shift >= 86400*2 {
		c.fail("a time that cannot be")
		return time.Time{}
	}
	t := time.Unix(seconds, int64(nanos))
	if shift == 0 {
		return t.UTC()
	}
	if c.zone == nil || c.shift != int(shift) {
		c.zone, c.shift = time.FixedZone("", int(shift)), int(shift)
	}
	return t.In(c.zone)
}

func (c *cursor) value() event.Value {
	switch event.Kind(c.byte()) {
	case event.KindString:
		return event.String(c.text())
	case event.KindInt:
		return event.Int(c.varint())
	case event.KindFloat:
		b := c.take(8)
		if len(b) < 8 {
			return event.Value{}
		}
		return event.Float(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case event.KindBool:
		return event.Bool(c.byte() != 0)
	default:
		c.fail("a value of no known kind")
		return event.Value{}
	}
}

func (c *cursor) byte() byte {
	if b := c.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	n, size := binary.Uvarint(c.data[c.at:])
	if size <= 0 {
		c.fail("a number that does not end")
		return 0
	}
	c.at += size
	return n
}

func (c *cursor) varint() int64 {
	n, size := binary.Varint(c.data[c.at:])
	if size <= 0 {
		c.fail("a number that does not end")
		return 0
	}
	c.at += size
	return n
}

// count reads how many things of at least size bytes follow.
func (c *cursor) count(size int) int {
	n := c.uvarint()
	if n > uint64((len(c.data)-c.at)/size) {
		c.fail("a list longer than the rest")
		return 0
	}
	return int(n)
}

// within bounds a length by what is left.
func (c *cursor) within(n uint64) int {
	if n > uint64(len(c.data)-c.at) {
		c.fail("a text longer than the rest")
		return 0
	}
	return int(n)
}

func (c *cursor) take(n int) []byte {
	if n > len(c.data)-c.at {
		c.fail("its end is missing")
		return nil
	}
	b := c.data[c.at : c.at+n]
	c.at += n
	return b
}

func (c *cursor) text() string {
	b := c.take(c.within(c.uvarint()))
	return unsafe.String(unsafe.SliceData(b), len(b))
}
