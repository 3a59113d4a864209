package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/stages/internal/avro"
	"millrace/stages/internal/eventjson"
)

// shippedSchema is the schema that the pipelines write with.
func shippedSchema(t testing.TB) string {
	t.Helper()
	source, err := os.ReadFile("../../../schemas/log_event.avsc")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// usual is an event as the audit route reads it.
func usual(n int) event.Event {
	e := event.Event{
		ID: uuid.New(), Time: time.Now(), Level: event.LevelInfo, Source: "payment-service", Host: "node-17",
		Message: fmt.Sprintf("Payment %d of order processed in time", n), CorrelationID: uuid.NewString(), Organisation: "acme",
	}
	e.SetAttribute("thread_id", event.Int(int64(n)))
	e.SetAttribute("user_id", event.String("user-4711"))
	return e
}

func usualValues(t testing.TB, avroID int) (values [][]byte) {
	t.Helper()
	codec, err := avro.New(shippedSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2000 {
		e := usual(n)
		if avroID == 0 {
			values = append(values, eventjson.Append(nil, &e))
			continue
		}
		value, err := codec.Append(avro.Frame(nil, avroID), &e)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}

// BenchmarkDecode is what Read does for each event, the client aside.
func BenchmarkDecode(b *testing.B) {
	for name, id := range map[string]int{"avro": 1, "json": 0} {
		b.Run(name, func(b *testing.B) {
			d := &decoder{topic: "logs", schemas: map[int]*schema{1: compile(1, shippedSchema(b))}}
			pc := &parcel{part: newPartition("logs", 0, 1)}
			for n, v := range usualValues(b, id)[:parcelEvents] {
				pc.records = append(pc.records, &kgo.Record{Topic: "logs", Offset: int64(n), Value: v, Timestamp: time.Now()})
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := d.parcel(b.Context(), pc); err != nil || len(pc.refused) > 0 {
					b.Fatal(err, pc.refused)
				}
				pc.clean()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*parcelEvents), "ns/event")
		})
	}
}

// batchOf is one record batch, as a broker stores it.
func batchOf(b *testing.B, values [][]byte) []byte {
	b.Helper()
	var records []byte
	for n, v := range values {
		rec := kmsg.Record{OffsetDelta: int32(n), Value: v}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		records = append(records, rec.AppendTo(nil)...)
	}
	compressor, err := kgo.DefaultCompressor(kgo.SnappyCompression())
	if err != nil {
		b.Fatal(err)
	}
	var dst bytes.Buffer
	compressed, codec := compressor.Compress(&dst, records)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(len(values) - 1),
		FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(values)), Records: compressed,
	}
	return sealed(batch)
}

// sealed is a batch as bytes, with its length and checksum.
func sealed(batch kmsg.RecordBatch) []byte {
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:12], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:21], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// BenchmarkRead compares the source with a bare client that decodes the same
// records; an op is an event.
func BenchmarkRead(b *testing.B) {
	values := usualValues(b, 1)
	c := broker(b, 2, kfake.SyntheticFetch(kfake.SyntheticBatch{Batch: batchOf(b, values)}))
	b.Run("bare", func(b *testing.B) {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DisableClientMetrics(),
			kgo.ConsumerGroup("bare"), kgo.ConsumeTopics("logs"), kgo.FetchMaxBytes(fetchMaxBytes))
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		s := compile(1, shippedSchema(b))
		events := make([]event.Event, parcelEvents)
		n := 0
		one := func() {
			client.PollFetches(b.Context()).EachRecord(func(rec *kgo.Record) {
				_, body, _ := avro.Unframe(rec.Value)
				if err := s.codec.DecodeShared(body, &events[n%parcelEvents]); err != nil {
					b.Fatal(err)
				}
				n++
			})
		}
		one()
		n = 0
		b.ReportAllocs()
		b.ResetTimer()
		for n < b.N {
			one()
		}
	})
	b.Run("source", func(b *testing.B) {
		r := at(c).open(b)
		defer shut(b, r)
		r.decode.schemas[1] = compile(1, shippedSchema(b))
		p, _ := read(b, r)
		delivered(p)
		b.ReportAllocs()
		b.ResetTimer()
		for n := 0; n < b.N; {
			p, err := r.Read(b.Context())
			if err != nil || len(p.Refused) > 0 {
				b.Fatal(err, p.Refused)
			}
			n += len(p.Events)
			delivered(p)
		}
	})
}
