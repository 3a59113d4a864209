package stagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
)

var errAway = errors.New("connection refused")

func openSink(t *testing.T, s *Sink) stage.Writer {
	t.Helper()
	w, err := s.Stage().New().(stage.Sink).Open(t.Context(), stage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func openSource(t *testing.T, s *Source) stage.Reader {
	t.Helper()
	r, err := s.Stage().New().(stage.Source).Open(t.Context(), stage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheSinkKeepsWhatIsOpen(t *testing.T) {
	sink := NewSink("memory")
	w := openSink(t, sink)
	events := Events("a", "b", "c")
	b := event.NewBatch(events)
	b.Settle(1, event.Filtered)
	if err := w.Write(t.Context(), b); err != nil || b.Count(event.Open) != 2 {
		t.Fatalf("%v, %d open", err, b.Count(event.Open))
	}
	overwriteEvent(&events[0])
	if got := sink.Messages(); !slices.Equal(got, []string{"a", "c"}) || sink.Delivered()[1].ID != Events("c")[0].ID {
		t.Errorf("delivered %v", got)
	}
}

func TestTheSinkFailsAsItIsTold(t *testing.T) {
	sink := NewSink("memory")
	w := openSink(t, sink)
	write := func(messages ...string) (*event.Batch, error) {
		b := event.NewBatch(Events(messages...))
		return b, w.Write(t.Context(), b)
	}

	sink.FailWrites(All, 2, errAway)
	for range 2 {
		if _, err := write("a"); err != errAway {
			t.Fatalf("a failing write: %v", err)
		}
	}
	sink.FailEvents(Message("b"), 1, errAway)
	sink.RefuseEvents(Message("c"), io.ErrUnexpectedEOF)
	b, err := write("a", "b", "c")
	if err != nil || b.Err(0) != nil || b.Err(1) != errAway || b.Outcome(1) != event.Open || b.Outcome(2) != event.Refused {
		t.Fatalf("%v; a: %v, b: %v (%v), c: %v", err, b.Err(0), b.Outcome(1), b.Err(1), b.Outcome(2))
	}
	sink.BadWrites(Message("d"), errAway)
	if b, err = write("d", "e"); stage.ClassOf(err) != stage.BadEvent || b.Err(0) != nil {
		t.Fatalf("a bad event that is not named: %v, %v", err, b.Err(0))
	}
	sink.PanicOn(Message("p"), 1)
	if p := panicOf(func() { _, _ = write("p") }); !strings.Contains(fmt.Sprint(p), `"p"`) {
		t.Fatalf("panic says %v", p)
	}
	sink.Mend()
	if _, err = write("b", "c", "d", "p"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "d", "p"}; !slices.Equal(sink.Messages(), want) || sink.Writes() != 6 {
		t.Errorf("delivered %v in %d writes, want %v in 6", sink.Messages(), sink.Writes(), want)
	}
}

func TestAHeldSinkWaitsForReleaseOrTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := NewSink("memory")
		w := openSink(t, sink)
		release := sink.Hold()
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 2)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			go func() { result <- w.Write(ctx, event.NewBatch(Events("a"))) }()
		}
		if err := sink.AwaitWrites(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled write returned %v", err)
		}
		release()
		if err := <-result; err != nil || sink.AwaitDelivered(t.Context(), 1) != nil {
			t.Errorf("the released write returned %v", err)
		}
		release()
	})
}

func TestTheSinkCanFailToOpen(t *testing.T) {
	sink := NewSink("memory")
	sink.FailOpens(errAway)
	config := sink.Stage().New().(stage.Sink)
	if _, err := config.Open(t.Context(), stage.Settings{}); err != errAway {
		t.Fatalf("first Open: %v", err)
	}
	w, err := config.Open(t.Context(), stage.Settings{})
	if err != nil || w.Close(t.Context()) != nil {
		t.Fatalf("second Open: %v", err)
	}
	if opens, closes := sink.Lives(); opens != 1 || closes != 1 {
		t.Errorf("opened %d, closed %d times", opens, closes)
	}
}

func TestTheSourceBringsItsScriptAndKeepsTheReceipts(t *testing.T) {
	source := NewSource("memory")
	r := openSource(t, source)
	source.SendEvents("a", "b")
	source.SendError(errAway)
	done := 0
	source.Send(event.Parcel{Lane: "1", Events: Events("c"), Done: func(event.Receipt) { done++ }})
	source.End()

	first, err := r.Read(t.Context())
	if err != nil || len(first.Events) != 2 || first.Events[1].Message != "b" || first.Origin.Kind != "memory" {
		t.Fatalf("first: %v, %v", first, err)
	}
	if _, err := r.Read(t.Context()); err != errAway {
		t.Fatalf("second: %v", err)
	}
	third, err := r.Read(t.Context())
	if err != nil || third.Lane != "1" {
		t.Fatalf("third: %v, %v", third, err)
	}
	if _, err := r.Read(t.Context()); err != io.EOF {
		t.Fatalf("fourth: %v", err)
	}
	var receipt event.Receipt
	receipt.Counts[event.Delivered] = 1
	third.Done(receipt)
	first.Done(event.Receipt{})
	if err := source.AwaitReceipts(t.Context(), 2); err != nil || done != 1 {
		t.Fatalf("%v, own Done called %d times", err, done)
	}
	got := source.Receipts()
	if got[0].Parcel != 1 || got[0].Counts[event.Delivered] != 1 || got[1].Parcel != 0 {
		t.Errorf("receipts %v", got)
	}
	if p := panicOf(func() { first.Done(event.Receipt{}) }); !strings.Contains(fmt.Sprint(p), "parcel 0") {
		t.Errorf("Done a second time: panic %v", p)
	}
	_ = r.Close(t.Context())
	if opens, closes := source.Lives(); opens != 1 || closes != 1 {
		t.Errorf("opened %d, closed %d times", opens, closes)
	}
}

func TestAnEmptySourceWaitsForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openSource(t, NewSource("memory"))
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { _, err := r.Read(ctx); result <- err }()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Read returned %v", err)
		}
	})
}

func TestSettingsAreThoseOfAnEngine(t *testing.T) {
	server := NewServer(t)
	s := Settings(t, WithClock(NewClock(noon)), WithResource("kafka", 42), WithServer(server),
		func(s *stage.Settings) { s.Name = "mine" })
	if n, err := stage.Use[int](s, "kafka"); n != 42 || err != nil || s.Name != "mine" || !s.Clock.Now().Equal(noon) {
		t.Errorf("options were not heeded: %v %v %v", n, err, s.Name)
	}
	if _, err := stage.Use[int](s, "redis"); err == nil || !strings.Contains(err.Error(), `"redis"`) {
		t.Errorf("an unknown resource: %v", err)
	}
	var mode string
	if err := s.State.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q (%v), want wal", mode, err)
	}
	s.Metrics.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "c"}))
	if families, err := Registry(s).Gather(); err != nil || len(families) != 1 {
		t.Errorf("%v, %v", families, err)
	}
	s.Log.Info("seen with go test -v")
}

func TestMountedPathsAreServed(t *testing.T) {
	server := NewServer(t)
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	if err := errors.Join(server.Mount("/in", say("exact")), server.Mount("/api/", say("below"))); err != nil {
		t.Fatal(err)
	}
	if server.Mount("/in", say("")) == nil || server.Mount("in", say("")) == nil {
		t.Error("a taken path or one without / was accepted")
	}
	for path, want := range map[string]string{"/in": "exact", "/api/v1/x": "below", "/in/x": "404 page not found\n", "/": "404 page not found\n"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != want {
			t.Errorf("%s answers %q, want %q", path, body, want)
		}
	}
	server.Unmount()
	if err := server.Mount("/in", say("again")); err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestMemoryIsOverwrittenUnderEveryString(t *testing.T) {
	m := newMemory(3, logEvent)
	before, kept := copyEvent(&m.events[1]), m.events[1]
	if fingerprint(&before) != fingerprint(&kept) {
		t.Fatal("moving events into the arena changed them")
	}
	m.overwrite()
	for _, s := range texts(&kept) {
		if strings.Trim(*s, "#") != "" {
			t.Errorf("%q was not overwritten", *s)
		}
	}
	if strings.Trim(string(kept.Raw), "#") != "" || kept.Attributes[0].Key != gone || m.events[1].Message != gone {
		t.Errorf("raw %q, attributes %v", kept.Raw, kept.Attributes)
	}
	if original := logEvent(1); fingerprint(&before) != fingerprint(&original) {
		t.Error("the copy was overwritten too")
	}
}

// panicOf runs f and returns what it panicked with.
func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
