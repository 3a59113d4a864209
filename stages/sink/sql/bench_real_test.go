//go:build real

package sql

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"millrace/engine/event"
)

// BenchmarkPostgres is to be compared with BenchmarkPostgresBare: the same rows
// by a plain loop over pgx, as a service would write it.
func BenchmarkPostgres(b *testing.B) { benchWriters(b, postgresPlace) }

func BenchmarkPostgresBare(b *testing.B) {
	for _, attributes := range []bool{false, true} {
		name := "metadata"
		if attributes {
			name = "attributes_table"
		}
		b.Run(name, func(b *testing.B) {
			p := postgresPlace(b)
			c := p.config(nil)
			if attributes {
				p.withAttributes(c)
			}
			p.open(b, c)
			bare := newBareLoop(b, p, c)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				events := some(benchRows)
				b.StartTimer()
				bare.write(b, events)
			}
			b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

type bareLoop struct {
	conn             *pgx.Conn
	main, attributes string
}

func newBareLoop(b *testing.B, p *place, c *Config) *bareLoop {
	conn, err := pgx.Connect(b.Context(), p.dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(b.Context()) })
	bare := &bareLoop{conn: conn}
	bare.main, _ = insertEvents(c)
	if c.AttributesTable != "" {
		bare.attributes = insertAttributes(c, 1, onConflictAttribute)
	}
	return bare
}

func (l *bareLoop) write(b *testing.B, events []event.Event) {
	n := len(events)
	ids, times := make([][16]byte, n), make([]time.Time, n)
	columns := make([][]*string, len(texts))
	metadata := make([]*string, n)
	var attributeIDs [][16]byte
	var keys, values, types []string
	for i := range events {
		e := &events[i]
		ids[i], times[i] = e.ID, e.Time
		for k := range texts {
			if s := texts[k].value(e); s != "" || !texts[k].optional {
				columns[k] = append(columns[k], &s)
			} else {
				columns[k] = append(columns[k], nil)
			}
		}
		if l.attributes == "" {
			m := make(map[string]any, len(e.Attributes))
			for _, a := range e.Attributes {
				m[a.Key] = a.Value.Any()
			}
			text, err := json.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			s := string(text)
			metadata[i] = &s
			continue
		}
		for _, a := range e.Attributes {
			attributeIDs = append(attributeIDs, e.ID)
			keys, values, types = append(keys, a.Key), append(values, a.Value.String()), append(types, kinds[a.Value.Kind()])
		}
	}
	args := []any{ids, times}
	for _, column := range columns {
		args = append(args, column)
	}
	var err error
	if l.attributes == "" {
		_, err = l.conn.Exec(b.Context(), l.main, append(args, metadata)...)
	} else {
		var batch pgx.Batch
		batch.Queue(l.main, args...)
		batch.Queue(l.attributes, attributeIDs, keys, values, types)
		err = l.conn.SendBatch(b.Context(), &batch).Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}
