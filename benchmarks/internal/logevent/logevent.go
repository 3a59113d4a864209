// Package logevent writes and reads schemas/log_event.avsc by hand: what the
// bare loops use in place of a codec that is compiled from the schema. Nothing
// that has to look at a schema can be cheaper.
package logevent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unsafe"

	"millrace/engine/event"
)

// FrameSize is the size of the registry's frame: a zero byte and a schema id.
const FrameSize = 5

// Frame is the frame of a schema id.
func Frame(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0}, id) }

// Append writes the body of an event.
func Append(buf []byte, e *event.Event) []byte {
	buf = append(buf, e.ID[:]...)
	buf = binary.AppendVarint(buf, e.Time.UnixMicro())
	buf = append(buf, byte(e.Level)<<1)
	buf = appendString(buf, e.Source)
	buf = appendString(buf, e.Host)
	buf = appendString(buf, e.Message)
	buf = appendOptional(buf, e.Organisation)
	buf = appendOptional(buf, e.CorrelationID)
	buf = appendOptional(buf, e.TraceID)
	buf = appendOptional(buf, e.SpanID)
	buf = appendOptional(buf, e.StackTrace)
	if n := len(e.Attributes); n > 0 {
		buf = binary.AppendVarint(buf, int64(n))
		for i := range e.Attributes {
			a := &e.Attributes[i]
			buf = appendValue(appendString(buf, a.Key), a.Value)
		}
	}
	return append(buf, 0)
}

func appendValue(buf []byte, v event.Value) []byte {
	switch v.Kind() {
	case event.KindInt:
		return binary.AppendVarint(append(buf, 2), v.Int())
	case event.KindFloat:
		return binary.LittleEndian.AppendUint64(append(buf, 4), math.Float64bits(v.Float()))
	case event.KindBool:
		if v.Bool() {
			return append(buf, 6, 1)
		}
		return append(buf, 6, 0)
	default:
		return appendString(append(buf, 0), v.Str())
	}
}

func appendOptional(buf []byte, s string) []byte {
	if s == "" {
		return append(buf, 0)
	}
	return appendString(append(buf, 2), s)
}

func appendString(buf []byte, s string) []byte {
	return append(binary.AppendVarint(buf, int64(len(s))), s...)
}

// Row is a record as a table wants it. Texts point into the record.
type Row struct {
	ID                                                  [16]byte
	Time                                                time.Time
	Level                                               string
	Source, Host, Message                               string
	Organisation, CorrelationID, TraceID, SpanID, Stack string
	Metadata                                            []Entry
}

// Entry is one entry of the metadata, its value as text.
type Entry struct{ Key, Value, Type string }

var levels = [...]string{"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

var errShort = errors.New("the record ends too early")

// Decode reads a body into a row, whose memory it uses again.
func Decode(body []byte, r *Row) error {
	d := input{rest: body}
	copy(r.ID[:], d.take(16))
	r.Time = time.UnixMicro(d.long())
	level := d.long()
	if level < 0 || level >= int64(len(levels)) {
		return fmt.Errorf("level %d", level)
	}
	r.Level = levels[level]
	r.Source, r.Host, r.Message = d.text(), d.text(), d.text()
	r.Organisation, r.CorrelationID, r.TraceID = d.optional(), d.optional(), d.optional()
	r.SpanID, r.Stack = d.optional(), d.optional()
	r.Metadata = r.Metadata[:0]
	for n := d.long(); n > 0 && d.err == nil; n = d.long() {
		for range n {
			r.Metadata = append(r.Metadata, d.entry())
		}
	}
	return d.err
}

type input struct {
	rest []byte
	err  error
}

func (d *input) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.err, d.rest = errShort, nil
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *input) long() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.err, d.rest = errShort, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *input) text() string {
	b := d.take(int(d.long()))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *input) optional() string {
	if d.long() == 0 {
		return ""
	}
	return d.text()
}

func (d *input) entry() Entry {
	e := Entry{Key: d.text()}
	switch d.long() {
	case 1:
		e.Type, e.Value = "int", strconv.FormatInt(d.long(), 10)
	case 2:
		e.Type = "float"
		if b := d.take(8); b != nil {
			e.Value = strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
		}
	case 3:
		e.Type, e.Value = "bool", "false"
		if b := d.take(1); b != nil && b[0] == 1 {
			e.Value = "true"
		}
	default:
		e.Type, e.Value = "string", d.text()
	}
	return e
}
