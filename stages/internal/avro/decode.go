package avro

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

var (
	errShort  = errors.New("the body ends too early")
	errVarint = errors.New("a number is longer than 10 bytes")
	errLength = errors.New("a length is negative or beyond the body")
	errBranch = errors.New("a union names a branch that its schema does not have")
	errSymbol = errors.New("an enum names a symbol that its schema does not have")
	errBool   = errors.New("a boolean is neither 0 nor 1")
	errDepth  = errors.New("values are nested more than 64 deep")
)

// maxDepth bounds recursive schemas.
const maxDepth = 64

// decoder walks over a body. The first error stays; from then on it reads
// zeros, so that the plan need not look after each value.
type decoder struct {
	body string // what is left of it
	err  error
}

func (c *Codec) decode(body string, e *event.Event) error {
	attributes := e.Attributes[:0]
	*e = event.Event{Due: e.Due, Offset: e.Offset, Key: e.Key, Raw: e.Raw, Attributes: attributes}
	d := decoder{body: body}
	for i := range c.root.fields {
		f := &c.root.fields[i]
		d.field(f, e)
		if d.err != nil {
			return fmt.Errorf("avro: field %s: %w", f.name, d.err)
		}
	}
	if len(d.body) > 0 {
		return fmt.Errorf("avro: %d bytes are left over after the last field: the body was not written with this schema", len(d.body))
	}
	return nil
}

// field reads one field of the outermost record to its place.
func (d *decoder) field(f *readField, e *event.Event) {
	n := d.settle(f.node)
	if n.kind == kindNull {
		return
	}
	switch f.place {
	case inMap:
		if n.kind == kindMap {
			d.attributes(n.item, e)
			return
		}
	case inID:
		d.id(n, e)
		return
	case inTime:
		d.time(n, e)
		return
	case inLevel:
		d.level(n, e)
		return
	case inAttribute:
	default:
		if n.kind == kindString {
			*text(e, f.place) = d.str()
		} else if v, ok := d.value(n); ok {
			*text(e, f.place) = v.String()
		}
		return
	}
	if v, ok := d.value(n); ok {
		e.SetAttribute(f.name, v)
	}
}

// settle reads branch numbers until it is known what comes.
func (d *decoder) settle(n *node) *node {
	for n.kind == kindUnion {
		i := d.long()
		if i < 0 || i >= int64(len(n.branches)) {
			d.fail(errBranch)
			return &nothing
		}
		n = n.branches[i]
	}
	return n
}

var nothing = node{kind: kindNull, empty: true}

// value reads a value that can be an attribute; others are skipped.
func (d *decoder) value(n *node) (event.Value, bool) {
	n = d.settle(n)
	switch n.kind {
	case kindString:
		return event.String(d.str()), true
	case kindLong:
		return event.Int(d.long()), true
	case kindDouble:
		return event.Float(math.Float64frombits(d.fixed64())), true
	case kindFloat:
		return event.Float(float64(math.Float32frombits(d.fixed32()))), true
	case kindBoolean:
		return event.Bool(d.boolean()), true
	case kindEnum:
		if i := d.symbol(n); i >= 0 {
			return event.String(n.symbols[i]), true
		}
		return event.Value{}, false
	case kindFixed:
		return event.String(d.take(int64(n.size))), true
	default:
		d.skip(n, 0)
		return event.Value{}, false
	}
}

// attributes reads a map. Keys are unique in an event: where a body repeats
// one, the last counts.
func (d *decoder) attributes(values *node, e *event.Event) {
	first := len(e.Attributes)
	var index map[string]int // only for maps too large to look through
	for {
		n, _ := d.block(false)
		if n == 0 || d.err != nil {
			return
		}
		for range n {
			key := d.str()
			v, ok := d.value(values)
			if d.err != nil {
				return
			}
			if !ok {
				continue
			}
			if len(e.Attributes)-first >= 32 && index == nil {
				index = make(map[string]int, len(e.Attributes))
				for i := range e.Attributes {
					index[e.Attributes[i].Key] = i
				}
			}
			at := find(e.Attributes, index, key)
			if at >= 0 {
				e.Attributes[at].Value = v
				continue
			}
			if index != nil {
				index[key] = len(e.Attributes)
			}
			e.Attributes = append(e.Attributes, event.Attribute{Key: key, Value: v})
		}
	}
}

func find(attributes []event.Attribute, index map[string]int, key string) int {
	if index != nil {
		if i, ok := index[key]; ok {
			return i
		}
		return -1
	}
	for i := range attributes {
		if attributes[i].Key == key {
			return i
		}
	}
	return -1
}

func (d *decoder) id(n *node, e *event.Event) {
	if n.kind == kindFixed && n.size == 16 {
		copy(e.ID[:], d.take(16))
		return
	}
	v, ok := d.value(n)
	if !ok || v.String() == "" {
		return
	}
	id, err := uuid.Parse(v.String())
	if err != nil {
		e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(v.String()))
		e.SetAttribute("original_id", v)
		return
	}
	e.ID = id
}

func (d *decoder) time(n *node, e *event.Event) {
	switch n.kind {
	case kindLong:
		number := d.long()
		if e.Time = n.unit.time(number); !inCalendar(e.Time) {
			d.fail(fmt.Errorf("want a time of the years 1 to 9999, got %d, which counts %s by the schema; was it written in another unit?",
				number, n.unit))
		}
	case kindString:
		text := d.str()
		t, err := time.Parse(time.RFC3339Nano, text)
		if (err != nil || !inCalendar(t)) && d.err == nil {
			d.fail(fmt.Errorf("want a time of the years 1 to 9999 such as 2006-01-02T15:04:05Z, got %q", clip(text)))
		}
		e.Time = t
	default:
		d.skip(n, 0)
	}
}

// The years 1 to 9999, in seconds: what RFC 3339 can write. Beyond them a number
// is in another unit than its schema says, and in smaller units it would
// overflow without a sign.
var (
	firstSecond = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastSecond  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

func inCalendar(t time.Time) bool {
	s := t.Unix()
	return firstSecond <= s && s <= lastSecond
}

func (u timeUnit) time(n int64) time.Time {
	switch u {
	case unitMicros:
		return time.UnixMicro(n).UTC()
	case unitNanos:
		return time.Unix(n/1e9, n%1e9).UTC()
	default:
		return time.UnixMilli(n).UTC()
	}
}

func (d *decoder) level(n *node, e *event.Event) {
	switch n.kind {
	case kindEnum:
		if i := d.symbol(n); i >= 0 {
			e.Level = n.levels[i]
		}
	case kindString:
		name := d.str()
		l, err := event.ParseLevel(name)
		if err != nil && name != "" {
			d.fail(err)
		}
		e.Level = l
	default:
		d.skip(n, 0)
	}
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
