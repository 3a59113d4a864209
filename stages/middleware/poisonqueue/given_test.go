package poisonqueue

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// line is a batch with one line of a file.
func line() *event.Batch {
	b := event.NewBatch([]event.Event{{
		Raw: []byte("disk full"), Message: "disk full", Source: "myapp", Host: "web-1", Organisation: "acme", Attributes: []event.Attribute{{Key: "file", Value: event.String("a.log")}},
	}})
	b.AddOrigin(1, event.Origin{Kind: "file", Name: "a.log"})
	return b
}

// mask is a transform that must not be done to its own result.
func mask(e *event.Event) {
	e.Source, e.Organisation = "hashed "+e.Source, ""
	e.SetAttribute("file", event.String("hashed"))
	e.SetAttribute("made", event.Bool(true))
	e.Message = "changed"
}

func TestAReplayBeginsWithWhatTheSourceGaveNotWithWhatTheRouteMadeOfIt(t *testing.T) {
	away := errors.New("away")
	for name, attempts := range map[string]int{"at once": 1, "after bad weather": 3, "made in the pipeline": 1} {
		q, _ := openLocalQueue(t, 10)
		b := line()
		if name == "made in the pipeline" {
			b.Event(0).Raw = nil
		}
		for attempt := 1; attempt <= attempts; attempt++ {
			err := run(context.Background(), q, b, func(_ context.Context, b *event.Batch) error {
				if attempt == 1 {
					mask(b.Event(0))
				}
				if attempt < attempts {
					b.FailOpen(away)
					return away
				}
				b.Refuse(0, stage.Bad(errors.New("bad")))
				return nil
			})
			if attempt == attempts && (err != nil || b.Outcome(0) != event.Poisoned) {
				t.Fatalf("%s: %v, %v", name, b.Outcome(0), err)
			}
		}
		var got []event.Event
		behind(q, func(_ context.Context, b *event.Batch) error {
			for _, e := range b.Open() {
				got = append(got, e.Share())
			}
			if len(got) < 3 {
				mask(b.Event(0))
				b.Refuse(0, stage.Bad(errors.New("still bad")))
			}
			b.SettleOpen(event.Delivered)
			return nil
		})
		for range 3 { // twice it fails again
			var report stage.PoisonReport
			if status := ask(t, q.desk, "POST", "replay", stage.PoisonReplay{}, &report); status != http.StatusOK || report.Error != "" {
				t.Fatalf("%d, %+v", status, report)
			}
		}
		if len(got) != 3 {
			t.Fatalf("%s: %d events were replayed", name, len(got))
		}
		for _, e := range got {
			file, _ := e.Attribute("file")
			_, made := e.Attribute("made")
			if e.Source != "myapp" || e.Host != "web-1" || e.Organisation != "acme" || file.Str() != "a.log" || e.Message != "disk full" || made {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// A limiter outside lets a batch go on in parts, and the parts may come again.
func TestABatchThatComesInPartsKeepsWhatTheSourceGave(t *testing.T) {
	q, _ := openLocalQueue(t, 10)
	events := make([]event.Event, 6)
	for i := range events {
		id := byte(i + 1)
		events[i] = event.Event{ID: [16]byte{id}, Raw: []byte{'a' + id}, Message: string([]byte{'a' + id}), Organisation: string([]byte{'A' + id})}
	}
	b := event.NewBatch(events)
	first, second := b.Split(2)
	second, third := second.Split(2)
	deliver := func(_ context.Context, b *event.Batch) error { b.SettleOpen(event.Delivered); return nil }
	if err := run(t.Context(), q, first, deliver); err != nil {
		t.Fatal(err)
	}
	other := event.NewBatch([]event.Event{{Raw: []byte("x"), Message: "x", Organisation: "another's"}})
	if err := run(t.Context(), q, other, func(_ context.Context, o *event.Batch) error {
		for attempt := range 2 { // the other batch is under way meanwhile
			err := run(t.Context(), q, second, func(_ context.Context, b *event.Batch) error {
				if attempt == 0 {
					b.FailOpen(errors.New("away"))
					return errors.New("away")
				}
				for row := range b.Open() {
					b.Event(row).Organisation = "changed"
					b.Refuse(row, stage.Bad(errors.New("bad")))
				}
				return nil
			})
			if (err != nil) != (attempt == 0) {
				t.Fatal(err)
			}
		}
		return deliver(t.Context(), o)
	}); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), q, third, func(_ context.Context, b *event.Batch) error {
		for row := range b.Open() {
			b.Refuse(row, stage.Bad(errors.New("bad")))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	behind(q, func(_ context.Context, b *event.Batch) error {
		for _, e := range b.Open() {
			got[e.Message] = e.Organisation
		}
		return deliver(t.Context(), b)
	})
	var report stage.PoisonReport
	if status := ask(t, q.desk, "POST", "replay", stage.PoisonReplay{}, &report); status != http.StatusOK || report.Error != "" {
		t.Fatalf("%d, %+v", status, report)
	}
	for i := byte(3); i <= 6; i++ {
		if want := string([]byte{'A' + i}); got[string([]byte{'a' + i})] != want {
			t.Errorf("event %d came back as %q, want organisation %s", i, got, want)
		}
	}
}

func TestTheTypeOfAnErrorIsTheOneThatTellsSomething(t *testing.T) {
	for want, err := range map[string]error{
		"*errors.errorString":          stage.Bad(errors.New("x")),
		"*errors.joinError":            stage.Bad(errors.Join(errors.New("x"), &http.MaxBytesError{})), // of several none speaks for all
		"poisonqueue.wrapping":         stage.Bad(wrapping{errors.New("x")}),
		"*http.MaxBytesError":          stage.Bad(wrapping{&http.MaxBytesError{}}),
		"*poisonqueue.unexpectedError": &unexpectedError{},
	} {
		if got := errorType(err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

type wrapping struct{ error }

func (w wrapping) Unwrap() error { return w.error }

type unexpectedError struct{}

func (*unexpectedError) Error() string { return "x" }

func BenchmarkABatchThatGoesWell(b *testing.B) {
	q, _ := openLocalQueue(b, 10)
	const n = 500
	events := make([]event.Event, n)
	for i := range events {
		events[i] = *line().Event(0)
	}
	batch := event.NewBatch(events)
	handler := q.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		stage.BatchOf(msg).SettleOpen(event.Delivered)
		return nil, nil
	})
	msg := stage.Message(context.Background(), batch)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset(events)
		if _, err := handler(msg); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
}
