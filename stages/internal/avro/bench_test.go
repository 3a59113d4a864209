package avro

import (
	"testing"

	"millrace/engine/event"
)

func BenchmarkAppend(b *testing.B) {
	codec, e := mustNew(b, shipped(b)), anEvent()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = codec.Append(buf[:0], &e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	codec, e := mustNew(b, shipped(b)), anEvent()
	body, err := codec.Append(nil, &e)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("copied", func(b *testing.B) {
		var got event.Event
		b.ReportAllocs()
		for b.Loop() {
			_ = codec.Decode(body, &got)
		}
	})
	b.Run("shared", func(b *testing.B) {
		var got event.Event
		b.ReportAllocs()
		for b.Loop() {
			_ = codec.DecodeShared(body, &got)
		}
	})
}
