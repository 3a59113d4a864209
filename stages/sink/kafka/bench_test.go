package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// BenchmarkWrite sends batches of 500 Avro events to a broker that throws them
// away; one op is one event. bare is the same client and the same bytes without
// the sink: what is left to win.
func BenchmarkWrite(b *testing.B) {
	const size = 500
	for _, linger := range []string{"0s", "200us", "1ms"} {
		b.Run("sink/linger="+linger, func(b *testing.B) {
			broker := fake(b, kfake.BlackholeProduce())
			w := openSink(b, clusterAt(b, broker.ListenAddrs()[0]), func(c *Config) {
				c.Value.Avro, c.Key = schemaFile, "correlation_id"
				if err := c.Linger.UnmarshalText([]byte(linger)); err != nil {
					b.Fatal(err)
				}
			})
			batch := event.NewBatch(events(size))
			b.ReportAllocs()
			for done := 0; done < b.N; done += size {
				if err := w.Write(b.Context(), batch); err != nil || batch.FirstErr(event.Open) != nil {
					b.Fatal(err, batch.FirstErr(event.Open))
				}
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		broker := fake(b, kfake.BlackholeProduce())
		w := openSink(b, clusterAt(b, broker.ListenAddrs()[0]), func(c *Config) { c.Value.Avro, c.Key = schemaFile, "correlation_id" })
		p := w.producers[0]
		c := newCall(p)
		w.encode(&[maxModes]*call{c}, event.NewBatch(events(size)))
		encoded := append([]kgo.Record(nil), c.records...)
		c.attempt = b.Context()
		b.ReportAllocs()
		for done := 0; done < b.N; done += size {
			c.makeRoom(size)
			c.records = append(c.records, encoded...)
			c.produce(p.client.Load())
			c.answer()
			if <-c.done; c.failed > 0 {
				b.Fatal(c.errs)
			}
		}
	})
}

// BenchmarkEncode is the part of a Write before the client; one op is one event.
func BenchmarkEncode(b *testing.B) {
	for _, value := range []string{"avro", "json"} {
		b.Run(value, func(b *testing.B) {
			broker := fake(b)
			w := openSink(b, clusterAt(b, broker.ListenAddrs()[0]), func(c *Config) {
				if c.Key = "correlation_id"; value == "avro" {
					c.Value.Avro = stage.Path(schemaFile)
				}
			})
			batch, c := event.NewBatch(events(500)), newCall(w.producers[0])
			b.ReportAllocs()
			for done := 0; done < b.N; done += 500 {
				c.buf, c.records, c.rows = c.buf[:0], c.records[:0], c.rows[:0]
				w.encode(&[maxModes]*call{c}, batch)
			}
			b.ReportMetric(float64(len(c.buf))/500, "bytes/event")
		})
	}
}
