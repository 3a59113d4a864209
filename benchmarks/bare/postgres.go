package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"millrace/benchmarks/internal/logevent"
)

// statement writes a batch: an array for each column, one round trip, rows that
// are there already stay. It is the cheapest form we know of for Postgres.
type statement struct {
	text       string
	attributes bool
}

var texts = []string{"level", "source", "host", "message", "organisation", "correlation_id", "trace_id", "span_id", "stack_trace"}

func newSQL(table, attributes string) statement {
	names := append([]string{"event_id", "timestamp"}, texts...)
	arrays := []string{"$1::uuid[]", "$2::timestamptz[]"}
	for i := range texts {
		arrays = append(arrays, fmt.Sprintf("$%d::text[]", i+3))
	}
	n := len(arrays)
	if attributes == "" {
		names, arrays = append(names, "metadata"), append(arrays, fmt.Sprintf("$%d::jsonb[]", n+1))
	}
	main := fmt.Sprintf(`INSERT INTO %q (%s) SELECT * FROM unnest(%s) ON CONFLICT (event_id) DO NOTHING`,
		table, strings.Join(names, ", "), strings.Join(arrays, ", "))
	if attributes == "" {
		return statement{text: main}
	}
	return statement{attributes: true, text: fmt.Sprintf(`WITH written AS (%s RETURNING event_id), attributes AS (
		INSERT INTO %q (event_id, key, value, type) SELECT * FROM unnest($%d::uuid[], $%d::text[], $%d::text[], $%d::text[]) AS a (event_id, key, value, type)
		WHERE (event_id IN (SELECT event_id FROM written)) IS TRUE) SELECT count(*) FROM written`, main, attributes, n+1, n+2, n+3, n+4)}
}

var binaryFormat = []int16{1}

// column is an array in the binary form of Postgres.
type column struct {
	oid   uint32
	count uint32
	buf   []byte
}

const header = 20

func (c *column) reset() { c.count, c.buf = 0, append(c.buf[:0], make([]byte, header)...) }

func (c *column) finish() []byte {
	binary.BigEndian.PutUint32(c.buf[0:], 1) // dimensions
	binary.BigEndian.PutUint32(c.buf[4:], 1) // may hold NULL
	binary.BigEndian.PutUint32(c.buf[8:], c.oid)
	binary.BigEndian.PutUint32(c.buf[12:], c.count)
	binary.BigEndian.PutUint32(c.buf[16:], 1) // first index
	return c.buf
}

func (c *column) bytes(v []byte) {
	c.count++
	c.buf = append(binary.BigEndian.AppendUint32(c.buf, uint32(len(v))), v...)
}

func (c *column) string(v string) {
	c.count++
	c.buf = append(binary.BigEndian.AppendUint32(c.buf, uint32(len(v))), v...)
}

// optional writes NULL for nothing.
func (c *column) optional(v string) {
	if v == "" {
		c.count++
		c.buf = append(c.buf, 0xff, 0xff, 0xff, 0xff)
		return
	}
	c.string(v)
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (c *column) time(t time.Time) {
	c.count++
	c.buf = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(c.buf, 8), uint64(t.UnixMicro()-epoch))
}

// columns are the arrays of a batch.
type columns struct {
	id, at     column
	texts      [9]column
	metadata   column
	attributes bool
	attribute  [4]column
	list       [][]byte
	json       []byte
}

func newColumns(attributes bool) *columns {
	c := &columns{attributes: attributes}
	c.id.oid, c.at.oid, c.metadata.oid = pgtype.UUIDOID, pgtype.TimestamptzOID, pgtype.JSONBOID
	for i := range c.texts {
		c.texts[i].oid = pgtype.TextOID
	}
	for i := range c.attribute {
		c.attribute[i].oid = pgtype.TextOID
	}
	c.attribute[0].oid = pgtype.UUIDOID
	return c
}

func (c *columns) each(f func(*column)) {
	f(&c.id)
	f(&c.at)
	for i := range c.texts {
		f(&c.texts[i])
	}
	if !c.attributes {
		f(&c.metadata)
		return
	}
	for i := range c.attribute {
		f(&c.attribute[i])
	}
}

func (c *columns) reset() { c.each((*column).reset) }

func (c *columns) params() [][]byte {
	c.list = c.list[:0]
	c.each(func(col *column) { c.list = append(c.list, col.finish()) })
	return c.list
}

func (c *columns) add(r *logevent.Row) {
	c.id.bytes(r.ID[:])
	c.at.time(r.Time)
	c.texts[0].optional(r.Level)
	c.texts[1].string(r.Source)
	c.texts[2].optional(r.Host)
	c.texts[3].string(r.Message)
	for i, v := range [...]string{r.Organisation, r.CorrelationID, r.TraceID, r.SpanID, r.Stack} {
		c.texts[4+i].optional(v)
	}
	if !c.attributes {
		c.metadata.bytes(c.document(r))
		return
	}
	for _, m := range r.Metadata {
		c.attribute[0].bytes(r.ID[:])
		c.attribute[1].string(m.Key)
		c.attribute[2].string(m.Value)
		c.attribute[3].string(m.Type)
	}
}

// document is the metadata as jsonb is sent: its version and JSON.
func (c *columns) document(r *logevent.Row) []byte {
	c.json = append(c.json[:0], 1, '{')
	for i, m := range r.Metadata {
		if i > 0 {
			c.json = append(c.json, ',')
		}
		c.json = append(strconv.AppendQuote(c.json, m.Key), ':')
		if m.Type == "string" {
			c.json = strconv.AppendQuote(c.json, m.Value)
		} else {
			c.json = append(c.json, m.Value...)
		}
	}
	return append(c.json, '}')
}
