package avro

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// op is what one step of the encoding plan does.
type op uint8

const (
	opConst      op = iota // a default, encoded already
	opText                 // a string of the event
	opUUID                 // the id as 16 bytes
	opUUIDText             // the id as 36 characters
	opMillis               // the time
	opMicros               //
	opNanos                //
	opTimeText             //
	opLevel                // the level as an enum symbol
	opLevelText            //
	opMap                  // the attributes
	opAttribute            // one attribute
	opUnwritable           // of a codec made for reading
)

// step writes one field. In a union, some is the branch of the value, and null
// the one of nothing; both are complete varints of one byte.
type step struct {
	op       op
	place    place
	offset   uintptr // opText: of the string in an Event
	union    bool
	some     byte
	nullable bool
	null     byte
	name     string
	constant []byte     // opConst, opAttribute: what stands for nothing; nil: there is nothing
	levels   [8][]byte  // opLevel: by level; nil: the schema has no symbol for it
	values   *valuePlan // opMap, opAttribute
}

func (c *Codec) append(buf []byte, e *event.Event) ([]byte, error) {
	var err error
	for i := range c.steps {
		s := &c.steps[i]
		switch s.op {
		case opText:
			text := *(*string)(unsafe.Add(unsafe.Pointer(e), s.offset))
			if s.union {
				if text == "" && s.nullable {
					buf = append(buf, s.null)
					continue
				}
				buf = append(buf, s.some)
			}
			buf = appendString(buf, text)
		case opConst:
			buf = append(buf, s.constant...)
		case opMap:
			buf, err = c.appendMap(buf, s, e)
		case opLevel:
			symbol := s.levels[e.Level&7]
			if symbol == nil {
				return buf, levelError(s.name, e.Level)
			}
			buf = append(buf, symbol...)
		case opAttribute:
			buf, err = s.appendAttribute(buf, e)
		case opNanos:
			if year := e.Time.Year(); (year < 1678 || year > 2261) && !(s.nullable && e.Time.IsZero()) {
				return buf, fmt.Errorf("avro: field %s: nanoseconds cannot say the year %d", s.name, year)
			}
			buf = s.appendOther(buf, e)
		case opMillis, opMicros, opTimeText:
			if !inCalendar(e.Time) || s.op == opTimeText && e.Time.Year() > 9999 { // in the zone it is written in
				return buf, fmt.Errorf("avro: field %s: want a time of the years 1 to 9999, got the year %d", s.name, e.Time.Year())
			}
			buf = s.appendOther(buf, e)
		case opUnwritable:
			err = errUnwritable
		default:
			buf = s.appendOther(buf, e)
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// appendOther writes ids, times and levels in words.
func (s *step) appendOther(buf []byte, e *event.Event) []byte {
	if s.union {
		if s.nullable && isNothing(s.place, e) {
			return append(buf, s.null)
		}
		buf = append(buf, s.some)
	}
	switch s.op {
	case opUUID:
		return append(buf, e.ID[:]...)
	case opUUIDText:
		return appendUUID(append(buf, 2*36), e.ID)
	case opMillis:
		return appendLong(buf, e.Time.UnixMilli())
	case opMicros:
		return appendLong(buf, e.Time.UnixMicro())
	case opNanos:
		return appendLong(buf, e.Time.UnixNano())
	case opLevelText:
		return appendString(buf, e.Level.String())
	default:
		var room [len(time.RFC3339Nano) + 8]byte
		text := e.Time.AppendFormat(room[:0], time.RFC3339Nano)
		return append(appendLong(buf, int64(len(text))), text...)
	}
}

// isNothing says whether the event lacks its id, time or level.
func isNothing(p place, e *event.Event) bool {
	switch p {
	case inID:
		return e.ID == uuid.Nil
	case inTime:
		return e.Time.IsZero()
	default:
		return e.Level == event.LevelUnset
	}
}

func levelError(name string, l event.Level) error {
	if l == event.LevelUnset {
		return fmt.Errorf("avro: field %s: the event has no level and the schema has no default symbol", name)
	}
	return fmt.Errorf("avro: field %s: the schema's enum has no symbol for level %v", name, l)
}

func (c *Codec) appendMap(buf []byte, s *step, e *event.Event) ([]byte, error) {
	n := len(e.Attributes)
	if len(c.promoted) > 0 {
		n = c.unpromoted(e)
	}
	if s.union {
		if n == 0 && s.nullable {
			return append(buf, s.null), nil
		}
		buf = append(buf, s.some)
	}
	if n == 0 {
		return append(buf, 0), nil
	}
	buf = appendLong(buf, int64(n))
	var err error
	for i := range e.Attributes {
		a := &e.Attributes[i]
		if len(c.promoted) > 0 && c.isPromoted(a.Key) {
			continue
		}
		if buf, err = s.values.append(appendString(buf, a.Key), a.Value); err != nil {
			return buf, fmt.Errorf("avro: field %s: attribute %s: %w", s.name, a.Key, err)
		}
	}
	return append(buf, 0), nil
}

func (c *Codec) isPromoted(key string) bool {
	for _, name := range c.promoted {
		if name == key {
			return true
		}
	}
	return false
}

// unpromoted counts the attributes that have no field of their own.
func (c *Codec) unpromoted(e *event.Event) int {
	n := 0
	for i := range e.Attributes {
		if !c.isPromoted(e.Attributes[i].Key) {
			n++
		}
	}
	return n
}

func (s *step) appendAttribute(buf []byte, e *event.Event) ([]byte, error) {
	v, ok := e.Attribute(s.name)
	if !ok {
		if s.constant == nil {
			return buf, fmt.Errorf("avro: field %s: the event has no such attribute and the schema gives no default", s.name)
		}
		return append(buf, s.constant...), nil
	}
	buf, err := s.values.append(buf, v)
	if err != nil {
		return buf, fmt.Errorf("avro: field %s: %w", s.name, err)
	}
	return buf, nil
}

// valuePlan says how a value of each kind is written.
type valuePlan struct {
	kinds [4]valueStep // by event.Kind
	ints  []valueStep  // what an integer may be, best first; nil: kinds says it
	want  string       // the schema's type, for errors
}

type valueStep struct {
	as     wireType
	union  bool
	branch byte
}

// wireType is how a value is written.
type wireType uint8

const (
	asNothing wireType = iota // the schema has no place for this kind
	asString
	asLong
	asInt
	asDouble
	asFloat
	asBoolean
)

// holds reports whether an integer can be written so and is the same when it is
// read.
func (w wireType) holds(n int64) bool {
	const most = 1 << 24 // beyond, a float leaves integers out
	switch w {
	case asInt:
		return n == int64(int32(n))
	case asFloat:
		return -most <= n && n <= most
	default:
		return true
	}
}

// forInt is the best choice that holds an integer; the first when none does.
func (p *valuePlan) forInt(n int64) *valueStep {
	for i := range p.ints {
		if p.ints[i].as.holds(n) {
			return &p.ints[i]
		}
	}
	return &p.ints[0]
}

func (p *valuePlan) append(buf []byte, v event.Value) ([]byte, error) {
	s := &p.kinds[v.Kind()&3]
	if v.Kind() == event.KindInt {
		if p.ints != nil {
			s = p.forInt(v.Int())
		}
		if !s.as.holds(v.Int()) {
			return buf, fmt.Errorf("the schema wants %s, and %d does not fit", p.want, v.Int())
		}
	}
	if s.union {
		buf = append(buf, s.branch)
	}
	switch s.as {
	case asString:
		if v.Kind() == event.KindString {
			return appendString(buf, v.Str()), nil
		}
		var room [32]byte
		text := v.AppendText(room[:0])
		return append(appendLong(buf, int64(len(text))), text...), nil
	case asLong, asInt:
		return appendLong(buf, v.Int()), nil
	case asDouble:
		return binary.LittleEndian.AppendUint64(buf, math.Float64bits(number(v))), nil
	case asFloat:
		return binary.LittleEndian.AppendUint32(buf, math.Float32bits(float32(number(v)))), nil
	case asBoolean:
		if v.Bool() {
			return append(buf, 1), nil
		}
		return append(buf, 0), nil
	default:
		return buf, fmt.Errorf("the schema wants %s, got %T %v", p.want, v.Any(), v)
	}
}

func number(v event.Value) float64 {
	if v.Kind() == event.KindInt {
		return float64(v.Int())
	}
	return v.Float()
}

func appendString(buf []byte, s string) []byte {
	if n := len(buf); len(s) < 64 && cap(buf)-n > len(s) { // the usual: its length is one byte, and there is room
		buf = buf[:n+1+len(s)]
		buf[n] = byte(len(s) << 1)
		copy(buf[n+1:], s)
		return buf
	}
	return append(appendLong(buf, int64(len(s))), s...)
}

// appendLong appends a zigzag varint.
func appendLong(buf []byte, n int64) []byte {
	return binary.AppendUvarint(buf, uint64(n)<<1^uint64(n>>63))
}

func appendUUID(buf []byte, id uuid.UUID) []byte {
	var t [36]byte
	hex.Encode(t[0:8], id[0:4])
	hex.Encode(t[9:13], id[4:6])
	hex.Encode(t[14:18], id[6:8])
	hex.Encode(t[19:23], id[8:10])
	hex.Encode(t[24:36], id[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return append(buf, t[:]...)
}
