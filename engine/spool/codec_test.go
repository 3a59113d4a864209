package spool

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
)

// full is an event with something in every field.
func full(i int) event.Event {
	return event.Event{
		ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%d", i)), Level: event.LevelWarn,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 2*3600)), Due: 1767323045678901234, Offset: int64(i),
		Source: "orders", Host: "host-1", Message: fmt.Sprintf("order %d was paid", i), CorrelationID: "c-1", TraceID: "t-1",
		SpanID: "s-1", Organisation: "acme", StackTrace: "at main.go:1\n", Key: "k", Raw: []byte("raw"), Replays: 2,
		Attributes: []event.Attribute{
			{Key: "text", Value: event.String("x")}, {Key: "int", Value: event.Int(math.MinInt64)},
			{Key: "float", Value: event.Float(math.Inf(-1))}, {Key: "yes", Value: event.Bool(true)}, {Key: "no", Value: event.Bool(false)},
		},
	}
}

// blobOf encodes events that came from one origin.
func blobOf(lane string, events ...event.Event) []byte {
	b := event.NewBatch(events)
	b.SetLane(lane)
	b.AddOrigin(len(events), event.Origin{Kind: "kafka", Name: "orders", Partition: 3})
	var r recorder
	r.record(b)
	return bytes.Clone(r.open(b))
}

// same is everything that can be seen of an event.
func same(e *event.Event) string {
	_, shift := e.Time.Zone()
	return fmt.Sprintf("%v %d %d %d %d %d %d %q %q %q %q %q %q %q %q %q %v %q %v %d", e.ID, e.Level, e.Time.Unix(), e.Time.Nanosecond(), shift, e.Due, e.Offset,
		e.Source, e.Host, e.Message, e.CorrelationID, e.TraceID, e.SpanID, e.Organisation, e.StackTrace, e.Key, e.Raw == nil, e.Raw, e.Attributes, e.Replays)
}

func drawEvent(t *rapid.T) event.Event {
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.Just(strings.Repeat("long ", 100)), rapid.Just("\xff\x00"))
	e := event.Event{
		Level: event.Level(rapid.Uint8Max(6).Draw(t, "level")),
		Time:  time.Unix(rapid.Int64Range(-1<<36, 1<<36).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanos")),
		Due:   rapid.Int64().Draw(t, "due"), Offset: rapid.Int64().Draw(t, "offset"),
		Source: text.Draw(t, "source"), Host: text.Draw(t, "host"), Message: text.Draw(t, "message"),
		CorrelationID: text.Draw(t, "correlation"), TraceID: text.Draw(t, "trace"), SpanID: text.Draw(t, "span"),
		Organisation: text.Draw(t, "organisation"), StackTrace: text.Draw(t, "stack"), Key: text.Draw(t, "key"),
	}
	e.Replays = rapid.Int32Range(0, math.MaxInt32).Draw(t, "replays")
	copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	e.Time = e.Time.In(time.FixedZone("", 60*rapid.IntRange(-720, 840).Draw(t, "zone")))
	if rapid.Bool().Draw(t, "has raw") {
		e.Raw = rapid.SliceOf(rapid.Byte()).Draw(t, "raw")
	}
	value := rapid.Custom(func(t *rapid.T) event.Value {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return event.String(text.Draw(t, "text"))
		case 1:
			return event.Int(rapid.Int64().Draw(t, "int"))
		case 2:
			return event.Float(rapid.Float64().Draw(t, "float"))
		default:
			return event.Bool(rapid.Bool().Draw(t, "bool"))
		}
	})
	for i := range rapid.IntRange(0, 5).Draw(t, "attributes") {
		e.Attributes = append(e.Attributes, event.Attribute{Key: fmt.Sprint(i), Value: value.Draw(t, "value")})
	}
	return e
}

func TestWhatIsStoredIsReadBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(drawEvent), 1, 10).Draw(t, "events")
		b := event.NewBatch(events)
		b.SetLane(rapid.String().Draw(t, "lane"))
		var origins []event.Origin
		for i := range events {
			origins = append(origins, event.Origin{
				Kind: "kafka", Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Partition: rapid.Int32().Draw(t, "partition") % 2,
			})
			b.AddOrigin(i+1, origins[i])
		}
		var r recorder
		r.record(b)
		want := make(map[int]string)
		for i := range events {
			want[i] = same(&events[i])
		}
		for i := range events { // what happens to them afterwards is not stored
			events[i].Message = "changed"
		}
		for i := range events {
			if rapid.Bool().Draw(t, "settled") {
				b.Settle(i, event.Delivered)
				delete(want, i)
			}
		}
		blob := r.open(b)
		s, err := decode(blob)
		if err != nil {
			t.Fatal(err)
		}
		if s.lane != b.Lane() || len(s.events) != len(want) {
			t.Fatalf("%d events of lane %q, want %d of %q", len(s.events), s.lane, len(want), b.Lane())
		}
		compare(t, s, want, origins)

		// And the same for what remains when some more are settled.
		kept := make(map[int]string)
		var rows []int
		for i := range events {
			if _, ok := want[i]; ok {
				rows = append(rows, i)
			}
		}
		for _, i := range rows {
			if rapid.Bool().Draw(t, "kept") {
				kept[i] = want[i]
			}
		}
		s.events = nil // their memory belongs to the chain
		rest, err := decode(s.without(blob, func(i int) bool { return kept[rows[i]] != "" }))
		if err != nil || rest.lane != b.Lane() || len(rest.events) != len(kept) {
			t.Fatalf("%v (%v), want %d events", rest, err, len(kept))
		}
		compare(t, rest, kept, origins)
	})
}

// compare holds what was read against the events of the rows in want.
func compare(t *rapid.T, s *stored, want map[int]string, origins []event.Origin) {
	row := 0
	for _, run := range s.runs {
		for range run.events {
			for want[row] == "" {
				row++
			}
			if got := same(&s.events[0]); got != want[row] {
				t.Fatalf("row %d: read\n%s\nstored\n%s", row, got, want[row])
			}
			if run.origin != origins[row] {
				t.Fatalf("row %d: from %v, want %v", row, run.origin, origins[row])
			}
			s.events = s.events[1:]
			row++
		}
	}
}

func TestAZeroTimeStaysZero(t *testing.T) {
	s, err := decode(blobOf("", event.Event{}))
	if err != nil || !s.events[0].Time.IsZero() {
		t.Errorf("%v (%v)", s.events[0].Time, err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	blob := blobOf("p/0", full(1), full(2))
	for i := range blob {
		for bit := range 8 {
			changed := bytes.Clone(blob)
			changed[i] ^= 1 << bit
			if _, err := decode(changed); err == nil {
				t.Fatalf("bit %d of byte %d was flipped, and nobody noticed", bit, i)
			}
		}
	}
	for n := range blob {
		if _, err := decode(blob[:n]); err == nil {
			t.Fatalf("%d bytes are missing, and nobody noticed", len(blob)-n)
		}
	}
}

func TestALaterVersionIsNotGuessedAt(t *testing.T) {
	blob := blobOf("", full(1))
	blob[len(magic)] = version + 1
	blob = appendSum(blob[:len(blob)-sumSize])
	if _, err := decode(blob); err == nil || !strings.Contains(err.Error(), "has version 3, this program knows up to 2") {
		t.Error(err)
	}
}

// TestWhatAnOlderProgramStoredIsRead has batches of version 1, which ends before
// the count of replays.
func TestWhatAnOlderProgramStoredIsRead(t *testing.T) {
	first, second := full(1), full(2)
	buf := appendRuns(appendHead(nil, 1, "p/0"), 2, func(int) event.Origin { return event.Origin{Kind: "kafka", Name: "orders", Partition: 3} })
	for _, e := range []*event.Event{&first, &second} {
		e.Replays = 0
		buf = appendEvent(buf, e)
		buf = buf[:len(buf)-1]
	}
	blob := appendSum(buf)
	for _, stored := range [][]byte{blob, nil} {
		if stored == nil { // one of them is settled
			s, err := decode(blob)
			if err != nil {
				t.Fatal(err)
			}
			stored = s.without(blob, func(i int) bool { return i == 1 })
		}
		s, err := decode(stored)
		if err != nil || len(s.events) == 0 || same(&s.events[len(s.events)-1]) != same(&second) {
			t.Errorf("read back is %+v, %v", s, err)
		}
	}
}

// FuzzDecode makes up blobs with a right checksum: what gets through must be
// what was encoded, and nothing may panic or take memory that it need not.
func FuzzDecode(f *testing.F) {
	f.Add(blobOf("", event.Event{}))
	f.Add(blobOf("p/0", full(1), full(2)))
	f.Add(blobOf("x", event.Event{Raw: []byte{}, Attributes: []event.Attribute{{Key: "a", Value: event.Int(1)}}}))
	f.Add([]byte(magic + "\x01\x00\x01\xff\xff\xff\xff\x0f"))
	f.Add([]byte(magic + "\x02\x00\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > sumSize {
			data = appendSum(bytes.Clone(data[:len(data)-sumSize]))
		}
		s, err := decode(data)
		if err != nil {
			return
		}
		total := 0
		for _, r := range s.runs {
			total += r.events
		}
		if total != len(s.events) {
			t.Fatalf("%d events, but %d in runs", len(s.events), total)
		}
		again, err := decode(s.without(data, func(int) bool { return true }))
		if err != nil {
			t.Fatalf("written again it cannot be read: %v", err)
		}
		for i := range s.events {
			if a, b := same(&s.events[i]), same(&again.events[i]); a != b {
				t.Fatalf("event %d: %s\nwritten again: %s", i, a, b)
			}
			if a, b := same(&s.events[i]), same(reencoded(t, &s.events[i])); a != b {
				t.Fatalf("event %d: %s\nencoded again: %s", i, a, b)
			}
		}
	})
}

func reencoded(t *testing.T, e *event.Event) *event.Event {
	s, err := decode(blobOf("", *e))
	if err != nil {
		t.Fatalf("encoded again it cannot be read: %v", err)
	}
	return &s.events[0]
}

func bench300() *event.Batch {
	events := make([]event.Event, 500)
	for i := range events {
		events[i] = full(i)
		events[i].Raw = nil
		events[i].StackTrace = ""
		events[i].Attributes = events[i].Attributes[:2]
		events[i].Message = strings.Repeat("m", 200)
	}
	return event.NewBatch(events)
}

func BenchmarkEncode(b *testing.B) {
	batch, r := bench300(), recorder{}
	b.ReportAllocs()
	for b.Loop() {
		r.record(batch)
		r.open(batch)
	}
	b.SetBytes(int64(len(r.blob)))
	b.ReportMetric(float64(len(r.blob))/500, "B/event")
}

func BenchmarkDecode(b *testing.B) {
	batch, r := bench300(), recorder{}
	r.record(batch)
	blob := r.open(batch)
	b.SetBytes(int64(len(blob)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(blob); err != nil {
			b.Fatal(err)
		}
	}
}
