package poison

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/avro"
)

// drain reads to the end and gives every event an outcome.
func drain(t interface{ Fatal(...any) }, r *Reader, fate func(i int, e *event.Event) event.Outcome) (events []event.Event) {
	for {
		p, err := r.Read(context.Background())
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		outcomes := make(map[int]event.Outcome)
		for i := range p.Events {
			outcomes[i] = fate(i, &p.Events[i])
		}
		events = append(events, p.Events...)
		p.Done(receipt(len(p.Events), event.Delivered, outcomes))
	}
}

func delivered(int, *event.Event) event.Outcome { return event.Delivered }

func TestEventsComeBackAsTheyWereAndLeaveTheStoreWhenDelivered(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		put(t, open(), entry(1), entry(2), entry(3))
		r := NewReader(open(), s, Reading{Codec: CodecAuto, By: "me", To: "route x"})
		p, err := r.Read(t.Context())
		if err != nil || len(p.Events) == 0 || p.Origin != (event.Origin{Kind: "kafka", Name: "logs", Partition: 2, Replay: true}) {
			t.Fatalf("got %+v, %v", p, err)
		}
		e := &p.Events[0]
		want := entry(int(e.Offset))
		count, _ := e.Attribute(Replays)
		if e.ID.String() != want.EventID || e.Message != fmt.Sprintf("m%d", e.Offset) || e.Key != string(want.Key) || !bytes.Equal(e.Raw, want.Payload) || e.TraceID != want.TraceID || count.Int() != 1 {
			t.Errorf("got %+v", e)
		}
		p.Done(receipt(len(p.Events), event.Delivered, nil))
		n := len(p.Events) + len(drain(t, r, delivered))
		if err := r.Close(t.Context()); err != nil || n != 3 {
			t.Fatalf("%d events, %v", n, err)
		}
		store := open()
		audits, err := store.Audits(t.Context())
		if left := list(t, store); len(left) != 0 || err != nil || len(audits) != 1 || audits[0].By != "me" || audits[0].Report.Delivered != 3 {
			t.Errorf("left %v, audits %+v, %v", left, audits, err)
		}
	})
}

func TestWhatWasNotSettledStays(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		put(t, open(), entry(1), entry(2), entry(3), entry(4))
		r := NewReader(open(), s, Reading{Codec: CodecAuto})
		drain(t, r, func(_ int, e *event.Event) event.Outcome {
			return map[int64]event.Outcome{1: event.Returned, 2: event.Rejected, 3: event.Filtered, 4: event.Shed}[e.Offset]
		})
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := list(t, open()); len(left) != 3 || left[0].Origin.Offset != 1 || left[1].Origin.Offset != 2 || left[2].Origin.Offset != 4 {
			t.Errorf("left %+v", left)
		}
		if report := r.Report(); report.Filtered != 1 || report.Shed != 1 || report.Left != 3 || report.Why == "" {
			t.Errorf("reported %+v", report)
		}
	})
}

func TestAnEventThatWasReplayedTooOftenIsLeftAlone(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		often := entry(2)
		often.Replays = 3
		put(t, open(), entry(1), often)
		r := NewReader(open(), s, Reading{Codec: CodecAuto, Pick: Pick{MaxReplays: 3}})
		if got := drain(t, r, delivered); len(got) != 1 || got[0].Offset != 1 {
			t.Errorf("got %+v", got)
		}
		if err := r.Close(t.Context()); err != nil || r.Report().Skipped != 1 || len(list(t, open())) != 1 {
			t.Errorf("%v, report %+v", err, r.Report())
		}
	})
}

func TestAReplayThatFollowsSeesWhatComesAndComesToAnEnd(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		store := open()
		s.Clock = hasty{}
		put(t, store, entry(1))
		r := NewReader(open(), s, Reading{Codec: CodecAuto, Follow: true, Pick: Pick{MaxReplays: 2}})
		seen := make(map[int64]int64)
		next := func() event.Parcel {
			t.Helper()
			p, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range p.Events {
				count, _ := p.Events[i].Attribute(Replays)
				seen[p.Events[i].Offset] = count.Int()
			}
			return p
		}
		first := next()
		again := entry(1) // it failed again, and was stored again
		again.Replays, again.Last = 1, again.Last.Add(time.Second)
		put(t, store, again, entry(2))
		first.Done(receipt(1, event.Poisoned, nil))
		for n := 0; n < 2; {
			p := next()
			n += len(p.Events)
			p.Done(receipt(len(p.Events), event.Delivered, nil))
		}
		if seen[1] != 2 || seen[2] != 1 {
			t.Errorf("replay counts by event: %v", seen)
		}
		if err := r.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p, err := r.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after Finish: %+v, %v", p, err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// hasty is a clock whose time does not have to be waited for.
type hasty struct{}

func (hasty) Now() time.Time                                   { return time.Now() }
func (hasty) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestEventsComeAtTheRate(t *testing.T) {
	db := database(t)
	s := Services{State: db, Clock: stage.SystemClock, Log: outside(t).Log}
	synctest.Test(t, func(t *testing.T) {
		store, err := Open(t.Context(), places["state directory"], s, Options{Max: 100})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			put(t, store, entry(i))
		}
		r := NewReader(store, s, Reading{Codec: CodecAuto, Pick: Pick{Rate: 10}})
		start := time.Now()
		n := len(drain(t, r, delivered))
		if took := time.Since(start); n != 30 || took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("%d events in %v at 10/s", n, took)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFilterSeesTheEventAndWhyItFailed(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		put(t, open(), entry(1), entry(2), entry(3))
		r := NewReader(open(), s, Reading{Codec: CodecAuto, Pick: Pick{Match: func(e *event.Event) (bool, error) {
			reason, _ := e.Attribute("dlq_reason")
			at, _ := e.Attribute("dlq_stage")
			if e.Message == "m3" {
				return false, errors.New("no sense")
			}
			return reason.Str() == "line 2" && at.Str() == "parse" && e.Message == "m2", nil
		}}})
		got := drain(t, r, delivered)
		if err := r.Close(t.Context()); err != nil || len(got) != 1 || got[0].Offset != 2 || r.Report().Undecided != 1 {
			t.Fatalf("got %+v, %v, %+v", got, err, r.Report())
		}
		if _, ok := got[0].Attribute("dlq_reason"); ok {
			t.Error("the event kept what was for the filter only")
		}
	})
}

func TestBytesAreReadByWhereTheyCameFrom(t *testing.T) {
	framed := append(avro.Frame(nil, 7), 4, 'h', 'i')
	for _, c := range []struct {
		name, kind, form, codec string
		payload                 []byte
		message                 string
		bad, away               bool
	}{
		{"Avro by its frame", "kafka", FormOriginal, CodecAuto, framed, "hi", false, false},
		{"Avro of an unknown schema", "kafka", FormOriginal, CodecAuto, avro.Frame(nil, 9), "", true, false},
		{"Avro while the registry is away", "kafka", FormOriginal, CodecAuto, avro.Frame(nil, 8), "", false, true},
		{"Kafka JSON", "kafka", FormOriginal, CodecAuto, []byte(`{"message":"m"}`), "m", false, false},
		{"Kafka, no JSON", "kafka", FormOriginal, CodecAuto, []byte(`plain`), "", true, false},
		{"Kafka, read as text", "kafka", FormText, CodecAuto, []byte(`{"message":"m"}`), `{"message":"m"}`, false, false},
		{"told to be raw", "kafka", FormOriginal, CodecRaw, []byte(`plain`), "plain", false, false},
		{"HTTP", "http", FormOriginal, CodecAuto, []byte(`{"message":"m"}`), "m", false, false},
		{"a line", "file", FormOriginal, CodecAuto, []byte("GET / 200\r\n"), "GET / 200", false, false},
		{"a line of JSON", "file", FormOriginal, CodecJSON, []byte(`{"message":"m"}`), "m", false, false},
		{"made here", "generator", FormEvent, CodecRaw, []byte(`{"message":"m"}`), "m", false, false},
		{"no value", "kafka", FormNull, CodecAuto, nil, "", true, false},
	} {
		e := entry(1)
		e.Origin.Kind, e.Form, e.Payload = c.kind, c.form, c.payload
		var got event.Event
		bad, err := NewRestorer(outside(t), c.codec).Restore(t.Context(), &e, &got)
		if (bad != nil) != c.bad || (err != nil) != c.away || got.Message != c.message {
			t.Errorf("%s: %q, bad %v, %v", c.name, got.Message, bad, err)
		}
		if err == nil && (got.ID.String() != e.EventID || c.form != FormEvent && !bytes.Equal(got.Raw, c.payload)) {
			t.Errorf("%s: id %v, raw %q", c.name, got.ID, got.Raw)
		}
	}
}

// Whatever becomes of the events, in as many runs as it takes, with crashes in
// between that leave the store untold: each event is delivered, or it is in the
// store, once, and its count never falls.
func TestNoEventIsLost(t *testing.T) {
	fewer(t, "12")
	db := database(t)
	s := Services{State: db, Clock: stage.SystemClock, Log: outside(t).Log}
	place := places["state directory"]
	rapid.Check(t, func(rt *rapid.T) {
		store, err := Open(context.Background(), place, s, Options{Max: 1000})
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := db.Exec("DELETE FROM poison_queue"); err != nil {
			rt.Fatal(err)
		}
		n := rapid.IntRange(1, 12).Draw(rt, "events")
		for i := range n {
			for _, err := range store.Put(context.Background(), []Entry{entry(i)}, []bool{false}) {
				if err != nil {
					rt.Fatal(err)
				}
			}
		}
		done, counts := make(map[int64]bool), make(map[int64]int)
		for range rapid.IntRange(1, 5).Draw(rt, "runs") {
			var untold Store = store
			if rapid.Bool().Draw(rt, "crash") {
				untold = deaf{store}
			}
			r := NewReader(untold, s, Reading{Codec: CodecAuto})
			again := []Entry{}
			drain(rt, r, func(_ int, e *event.Event) event.Outcome {
				o := rapid.SampledFrom([]event.Outcome{event.Delivered, event.Filtered, event.Poisoned, event.Returned}).Draw(rt, "outcome")
				if o == event.Delivered || o == event.Filtered {
					done[e.Offset] = true
				}
				if o == event.Poisoned { // as the middleware does, before it settles
					count, _ := e.Attribute(Replays)
					failed := entry(int(e.Offset))
					failed.Replays = int(count.Int())
					again = append(again, failed)
					if err := store.Put(context.Background(), again[len(again)-1:], []bool{true})[0]; err != nil {
						rt.Fatal(err)
					}
				}
				return o
			})
			_ = r.Close(context.Background()) // of a deaf store: what it was not told
			held := make(map[int64]bool)
			for _, e := range list(t, store) {
				if held[e.Origin.Offset] {
					rt.Fatalf("event %d is in the store twice", e.Origin.Offset)
				}
				if e.Replays < counts[e.Origin.Offset] {
					rt.Fatalf("the count of event %d fell from %d to %d", e.Origin.Offset, counts[e.Origin.Offset], e.Replays)
				}
				held[e.Origin.Offset], counts[e.Origin.Offset] = true, e.Replays
			}
			for i := range n {
				if !held[int64(i)] && !done[int64(i)] {
					rt.Fatalf("event %d is neither delivered nor stored", i)
				}
			}
		}
	})
}

// deaf is a store at the moment of a crash: it is not told what was settled.
type deaf struct{ Store }

func (deaf) Settle(ctx context.Context, _ []Fate) error { return errors.New("the process has died") }

// fewer checks than rapid's hundred are made of a property whose every check
// takes long, unless the command line asks for another number.
func fewer(t *testing.T, checks string) {
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != f.DefValue {
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) })
}

func TestWhatIsLeftAloneIsCountedOnceHoweverOftenTheStoreIsGoneThrough(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		store := open()
		s.Clock = hasty{}
		often, undecided := entry(1), entry(2)
		often.Replays, undecided.Reason = 5, "nobody knows"
		match := func(e *event.Event) (bool, error) {
			if why, _ := e.Attribute("dlq_reason"); why.Str() == undecided.Reason {
				return false, errors.New("makes no sense")
			}
			return true, nil
		}
		put(t, store, often, undecided)
		r := NewReader(open(), s, Reading{Codec: CodecAuto, Follow: true, Pick: Pick{MaxReplays: 2, Match: match}})
		for i := 3; i < 6; i++ {
			put(t, store, entry(i))
			p, err := r.Read(t.Context())
			if err != nil || len(p.Events) != 1 {
				t.Fatalf("got %+v, %v", p, err)
			}
			p.Done(receipt(1, event.Delivered, nil))
		}
		if err := r.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		drain(t, r, delivered)
		if err := r.Close(t.Context()); err != nil || r.Report().Skipped != 1 || r.Report().Undecided != 1 || r.Report().Selected != 3 {
			t.Errorf("reported %+v, %v", r.Report(), err)
		}
	})
}
