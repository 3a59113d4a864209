package sql

import (
	"testing"

	"millrace/engine/event"
)

const benchRows = 500

// BenchmarkEncode is what the sink itself costs on Postgres: choosing the rows
// and writing the arrays of one batch.
func BenchmarkEncode(b *testing.B) {
	for _, bench := range []struct {
		name       string
		attributes bool
	}{{"metadata", false}, {"attributes_table", true}} {
		b.Run(bench.name, func(b *testing.B) {
			k, base := newWork(), &base{Config: Stage.New().(*Config)}
			batch := event.NewBatch(some(benchRows))
			b.ReportAllocs()
			for b.Loop() {
				k.pick(batch, base, checkPostgres)
				k.encode(batch, bench.attributes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/event")
		})
	}
}

// BenchmarkSQLite writes batches of new events, a commit each.
func BenchmarkSQLite(b *testing.B) { benchWriters(b, sqlitePlace) }

func benchWriters(b *testing.B, at func(testing.TB) *place) {
	for _, attributes := range []bool{false, true} {
		name := "metadata"
		if attributes {
			name = "attributes_table"
		}
		b.Run(name, func(b *testing.B) {
			p := at(b)
			c := p.config(nil)
			if attributes {
				p.withAttributes(c)
			}
			w := p.open(b, c)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := event.NewBatch(some(benchRows))
				b.StartTimer()
				if err := w.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
