package spool

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"millrace/engine/event"
)

// A stored batch is one blob:
//
//	"MSB"  version  lane  runs  events  CRC-32C of all before it
//
// A run says how many of the next events came from one origin. Numbers are
// varints, strings their length and their bytes; of the events, every field is
// there. Whatever a later program changes gets a new version. Version 1, which
// is still read, has no count of replays.
const (
	magic   = "MSB"
	version = 2
	sumSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recorder holds the events of a batch as they were at one moment, encoded, so
// that they can be stored later although a transform has changed them since.
// Its memory is used again.
type recorder struct {
	events []byte
	rows   []recorded
	blob   []byte
}

// recorded is one event in a recorder.
type recorded struct {
	row      int
	from, to int // in recorder.events
}

// record encodes the open events of a batch.
func (r *recorder) record(b *event.Batch) {
	r.events, r.rows = r.events[:0], r.rows[:0]
	for row, e := range b.Open() {
		from := len(r.events)
		r.events = appendEvent(r.events, e)
		r.rows = append(r.rows, recorded{row, from, len(r.events)})
	}
}

// open makes the blob of those recorded events that are still open. It is
// valid until the next call.
func (r *recorder) open(b *event.Batch) []byte {
	rows := r.rows[:0]
	for _, at := range r.rows {
		if b.Outcome(at.row) == event.Open {
			rows = append(rows, at)
		}
	}
	r.rows = rows
	buf := appendHead(r.blob[:0], version, b.Lane())
	buf = appendRuns(buf, len(rows), func(i int) event.Origin { return b.Origin(rows[i].row) })
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && rows[j].from == rows[j-1].to {
			j++
		}
		buf = append(buf, r.events[rows[i].from:rows[j-1].to]...)
		i = j
	}
	r.blob = appendSum(buf)
	return r.blob
}

func appendHead(buf []byte, as byte, lane string) []byte {
	buf = append(buf, magic...)
	buf = append(buf, as)
	return appendString(buf, lane)
}

func appendSum(buf []byte) []byte {
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
}

// appendRuns writes where n events came from, neighbours of the same origin
// together.
func appendRuns(buf []byte, n int, origin func(i int) event.Origin) []byte {
	var runs []run
	for i := range n {
		o := origin(i)
		if len(runs) == 0 || runs[len(runs)-1].origin != o {
			runs = append(runs, run{origin: o})
		}
		runs[len(runs)-1].events++
	}
	buf = binary.AppendUvarint(buf, uint64(len(runs)))
	for _, r := range runs {
		buf = binary.AppendUvarint(buf, uint64(r.events))
		buf = appendString(buf, r.origin.Kind)
		buf = appendString(buf, r.origin.Name)
		buf = binary.AppendVarint(buf, int64(r.origin.Partition))
	}
	return buf
}

// run is a number of neighbouring events from one origin.
type run struct {
	events int
	origin event.Origin
}

func appendEvent(buf []byte, e *event.Event) []byte {
	buf = append(buf, e.ID[:]...)
	buf = append(buf, byte(e.Level))
	_, offset := e.Time.Zone()
	buf = binary.AppendVarint(buf, e.Time.Unix())
	buf = binary.AppendUvarint(buf, uint64(e.Time.Nanosecond()))
	buf = binary.AppendVarint(buf, int64(offset))
	buf = binary.AppendVarint(buf, e.Due)
	buf = binary.AppendVarint(buf, e.Offset)
	buf = appendString(buf, e.Source)
	buf = appendString(buf, e.Host)
	buf = appendString(buf, e.Message)
	buf = appendString(buf, e.CorrelationID)
	buf = appendString(buf, e.TraceID)
	buf = appendString(buf, e.SpanID)
	buf = appendString(buf, e.Organisation)
	buf = appendString(buf, e.StackTrace)
	buf = appendString(buf, e.Key)
	if e.Raw == nil { // not the same as empty: an event made here
		buf = append(buf, 0)
	} else {
		buf = binary.AppendUvarint(buf, uint64(len(e.Raw))+1)
		buf = append(buf, e.Raw...)
	}
	buf = binary.AppendUvarint(buf, uint64(len(e.Attributes)))
	for i := range e.Attributes {
		buf = appendAttribute(buf, &e.Attributes[i])
	}
	return binary.AppendUvarint(buf, uint64(max(0, e.Replays)))
}

func appendAttribute(buf []byte, a *event.Attribute) []byte {
	buf = appendString(buf, a.Key)
	buf = append(buf, byte(a.Value.Kind()))
	switch a.Value.Kind() {
	case event.KindInt:
		return binary.AppendVarint(buf, a.Value.Int())
	case event.KindFloat:
		return binary.LittleEndian.AppendUint64(buf, math.Float64bits(a.Value.Float()))
	case event.KindBool:
		if a.Value.Bool() {
			return append(buf, 1)
		}
		return append(buf, 0)
	default:
		return appendString(buf, a.Value.Str())
	}
}

func appendString(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}
