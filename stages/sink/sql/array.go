package sql

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

// The arrays that go to Postgres: one per column of the two tables.
const (
	arrayID             = 0
	arrayTime           = 1
	arrayTexts          = 2 // and one for each of texts
	arrayMetadata       = arrayTexts + len(texts)
	arrayAttributeID    = arrayMetadata + 1
	arrayAttributeKey   = arrayMetadata + 2
	arrayAttributeValue = arrayMetadata + 3
	arrayAttributeType  = arrayMetadata + 4
	numArrays           = arrayMetadata + 5
)

// Type numbers of Postgres.
const (
	oidText        = 25
	oidTimestamptz = 1184
	oidUUID        = 2950
	oidJSONB       = 3802
)

var arrayTypes = func() (oids [numArrays]uint32) {
	for i := range oids {
		oids[i] = oidText
	}
	oids[arrayID], oids[arrayAttributeID] = oidUUID, oidUUID
	oids[arrayTime], oids[arrayMetadata] = oidTimestamptz, oidJSONB
	return oids
}()

// array is a column in the binary form of a Postgres array: a header of five
// numbers (dimensions, whether there are NULLs, type, length, lower bound), then
// each element with its length in front, -1 for NULL.
type array struct {
	buf   []byte
	n     int
	nulls bool
}

const arrayHeader = 20

func (a *array) reset() {
	if cap(a.buf) < arrayHeader {
		a.buf = make([]byte, 0, 4096)
	}
	a.buf, a.n, a.nulls = a.buf[:arrayHeader], 0, false
}

// finish writes the header and returns the whole.
func (a *array) finish(oid uint32) []byte {
	h := a.buf
	binary.BigEndian.PutUint32(h[0:], 1)
	binary.BigEndian.PutUint32(h[4:], 0)
	if a.nulls {
		h[7] = 1
	}
	binary.BigEndian.PutUint32(h[8:], oid)
	binary.BigEndian.PutUint32(h[12:], uint32(a.n))
	binary.BigEndian.PutUint32(h[16:], 1)
	return a.buf
}

func (a *array) null() {
	a.buf = append(a.buf, 0xff, 0xff, 0xff, 0xff)
	a.n++
	a.nulls = true
}

func (a *array) text(s string) {
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(s)))
	a.buf = append(a.buf, s...)
	a.n++
}

func (a *array) uuid(id uuid.UUID) {
	a.buf = append(a.buf, 0, 0, 0, 16)
	a.buf = append(a.buf, id[:]...)
	a.n++
}

func (a *array) time(t time.Time) {
	a.buf = append(a.buf, 0, 0, 0, 8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64((t.Unix()-postgresEpoch)*1e6+int64(t.Nanosecond())/1000))
	a.n++
}

// measured appends an element whose length is known only when it is written.
func (a *array) measured(write func([]byte) []byte) {
	at := len(a.buf)
	a.buf = write(append(a.buf, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(a.buf[at:], uint32(len(a.buf)-at-4))
	a.n++
}

// Postgres counts microseconds from 2000-01-01 and knows the years 4713 BC to
// 294276 AD.
const (
	postgresEpoch = 946684800
	postgresMin   = -211813488000 + postgresEpoch
	postgresEnd   = 9223371331200 + postgresEpoch
)

func checkPostgres(e *event.Event) error {
	if s := e.Time.Unix(); s < postgresMin || s >= postgresEnd {
		return timeError(e.Time, "Postgres")
	}
	return nil
}

// encode puts the picked rows into the arrays.
func (k *work) encode(b *event.Batch, attributes bool) {
	for i := range k.arrays {
		k.arrays[i].reset()
	}
	for _, row := range k.rows {
		e := b.Event(row)
		k.arrays[arrayID].uuid(e.ID)
		k.arrays[arrayTime].time(e.Time)
		for i := range texts {
			if s := texts[i].value(e); s == "" && texts[i].optional {
				k.arrays[arrayTexts+i].null()
			} else {
				k.arrays[arrayTexts+i].text(s)
			}
		}
		if attributes {
			k.encodeAttributes(e)
		} else {
			k.encodeMetadata(e)
		}
	}
}

func (k *work) encodeMetadata(e *event.Event) {
	a := &k.arrays[arrayMetadata]
	if len(e.Attributes) == 0 {
		a.null()
		return
	}
	a.measured(func(buf []byte) []byte {
		return appendJSON(append(buf, 1), e.Attributes) // 1: the version of jsonb's binary form
	})
}

func (k *work) encodeAttributes(e *event.Event) {
	for i := range e.Attributes {
		v := e.Attributes[i].Value
		k.arrays[arrayAttributeID].uuid(e.ID)
		k.arrays[arrayAttributeKey].text(e.Attributes[i].Key)
		k.arrays[arrayAttributeValue].measured(v.AppendText)
		k.arrays[arrayAttributeType].text(kinds[v.Kind()])
	}
}
