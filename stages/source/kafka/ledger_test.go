package kafka

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// offline is a reader with one partition and no client.
func offline() (*reader, *partition) {
	r := &reader{
		cfg: &Config{Topic: "logs"}, log: slog.New(slog.DiscardHandler), clock: stage.SystemClock,
		parts: make(map[int32]*partition), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	p := newPartition("logs", 0, 1)
	p.place(0)
	r.assign(p)
	return r, p
}

// fetched makes a fetch of empty-handed records at some offsets.
func fetched(offsets ...int64) *kgo.FetchPartition {
	fp := &kgo.FetchPartition{HighWatermark: offsets[len(offsets)-1] + 1}
	for _, o := range offsets {
		fp.Records = append(fp.Records, &kgo.Record{Topic: "logs", Offset: o, Value: []byte("{}")})
	}
	return fp
}

// Whatever the order of settlement, holes in the offsets and returns: what
// would be committed is the offset of the first record that is not settled, or
// the end of what was handed out.
func TestTheCommittedOffsetIsTheFirstThatIsNotSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, p := offline()
		var next int64
		settled := make(map[int64]bool) // offsets that were read
		var handed []int64
		var out []*parcel
		var outOffsets [][]int64
		check := func() {
			want := p.taken
			for _, o := range handed {
				if !settled[o] {
					want = o
					break
				}
			}
			// The prefix ends where a parcel does: holes after it belong to the next.
			if p.settled > want {
				t.Fatalf("would commit %d although %d is not settled", p.settled, want)
			}
			for _, o := range handed {
				if o >= p.settled && o < want {
					t.Fatalf("would commit %d although everything before %d is settled", p.settled, want)
				}
			}
		}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // more arrives, with holes
				var offsets []int64
				for range rapid.IntRange(1, 3*parcelEvents/2).Draw(t, "records") {
					offsets = append(offsets, next)
					next += 1 + int64(rapid.SampledFrom([]int{0, 0, 0, 0, 7}).Draw(t, "hole"))
				}
				r.enqueue(fetched(offsets...))
			case 1: // a parcel is read
				pc, err := r.take()
				if err != nil || pc == nil {
					continue
				}
				var offsets []int64
				for _, rec := range pc.records {
					offsets = append(offsets, rec.Offset)
					if len(handed) == 0 || rec.Offset > handed[len(handed)-1] {
						handed = append(handed, rec.Offset)
					} else if settled[rec.Offset] {
						t.Fatalf("offset %d came again although it was settled", rec.Offset)
					}
				}
				out, outOffsets = append(out, pc), append(outOffsets, offsets)
			default: // one is settled or returned
				if len(out) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(out)-1).Draw(t, "which")
				receipt := event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: 1}}
				if rapid.IntRange(0, 3).Draw(t, "returned") == 0 {
					receipt = event.Receipt{Counts: [event.NumOutcomes]int{event.Returned: 1}}
				} else {
					for _, o := range outOffsets[i] {
						settled[o] = true
					}
				}
				r.done(out[i], receipt)
				out, outOffsets = append(out[:i:i], out[i+1:]...), append(outOffsets[:i:i], outOffsets[i+1:]...)
			}
			check()
		}
		for { // in the end everything comes and is settled
			for i := range out {
				r.done(out[i], event.Receipt{})
			}
			out = nil
			pc, _ := r.take()
			if pc == nil {
				break
			}
			out = append(out, pc)
		}
		if p.settled != max(p.expect, 0) || p.out != 0 || p.events != 0 || p.outBytes != 0 || p.ledger.open() != 0 {
			t.Fatalf("in the end: settled %d of %d, %d parcels, %d events, %d bytes out, %d spans open",
				p.settled, p.expect, p.out, p.events, p.outBytes, p.ledger.open())
		}
	})
}

func TestAStretchBehindAnUnsettledOneIsBounded(t *testing.T) {
	r, p := offline()
	next := int64(0)
	for i := 0; ; i++ {
		r.enqueue(fetched(next))
		next++
		pc, _ := r.take()
		if pc == nil {
			break
		}
		if i > 0 {
			r.done(pc, event.Receipt{})
		}
		if i > 2*outSpans {
			t.Fatalf("%d parcels were handed out behind one that is not settled", i)
		}
	}
	if p.settled != 0 {
		t.Errorf("settled %d", p.settled)
	}
}

func TestTheBoundsShrinkWithTheNumberOfPartitions(t *testing.T) {
	for n, want := range map[int]int{0: outBytes, 1: outBytes, 8: outBytes, 16: outBytes / 2, 10_000: leastBytes} {
		if got := bound(n); got != want {
			t.Errorf("bound(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestPartitionsTakeTurns(t *testing.T) {
	r, _ := offline()
	other := newPartition("logs", 1, 1)
	other.place(0)
	r.assign(other)
	for n := range int32(2) {
		var offsets []int64
		for o := range int64(4 * parcelEvents) {
			offsets = append(offsets, o)
		}
		fp := fetched(offsets...)
		fp.Partition = n
		r.enqueue(fp)
	}
	var order string
	for range 6 {
		pc, _ := r.take()
		order += fmt.Sprint(pc.part.number)
	}
	if order != "010101" && order != "101010" {
		t.Errorf("parcels came from partitions %s", order)
	}
}

func TestMistakesInTheConfiguration(t *testing.T) {
	good := Config{Topic: "logs", Group: "g", Value: "json", Workers: 1}
	for key, spoil := range map[string]func(*Config){
		"":               func(*Config) {},
		"topic":          func(c *Config) { c.Topic = "log events" },
		"group":          func(c *Config) { c.Group = "" },
		"start":          func(c *Config) { c.Start.Time, c.Start.Offset = Moment(time.Now()), map[Number]int64{0: 1} },
		"start.offset.3": func(c *Config) { c.Start.Offset = map[Number]int64{3: -1} },
		"value":          func(c *Config) { c.Value = "avro" },
		"workers":        func(c *Config) { c.Workers = 65 },
		"headers.1":      func(c *Config) { c.Headers = []string{"a", ""} },
	} {
		c := good
		spoil(&c)
		var problems stage.Problems
		c.Validate(&problems)
		switch {
		case key == "" && len(problems.Found) > 0:
			t.Errorf("a good configuration: %v", problems.Found)
		case key != "" && (len(problems.Found) != 1 || problems.Found[0].Key != key):
			t.Errorf("%s: %v", key, problems.Found)
		}
	}
	good.Resource = "eu"
	if links := good.Links(); len(links) != 1 || links[0] != (stage.Link{What: "kafka:eu:logs"}) {
		t.Errorf("links: %v", links)
	}
}
