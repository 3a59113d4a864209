package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestExpectHoldsAnswersAgainstWhatTheyShouldBe(t *testing.T) {
	r := open(t, func(c *Config) { c.Format, c.Expect = formatSingle, &Expect{Status: 202, Body: `"Accepted"`} },
		func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			switch {
			case bytes.Contains(body, []byte("other status")):
				_, _ = io.WriteString(w, `"Accepted"`)
			case bytes.Contains(body, []byte("other body")):
				with(202, `"Queued"`)(w, req)
			case bytes.Contains(body, []byte("busy")):
				w.WriteHeader(http.StatusInternalServerError)
			default:
				with(202, `{"status":"Accepted"}`)(w, req)
			}
		})
	b := batch("good", "other status", "other body", "busy", "good too")
	if err := r.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want := []event.Outcome{event.Open, event.Refused, event.Refused, event.Open, event.Open}
	for row := range b.All() {
		if failed := row == 3; b.Outcome(row) != want[row] || failed != (b.Err(row) != nil && want[row] == event.Open) {
			t.Errorf("row %d is %v: %v", row, b.Outcome(row), b.Err(row))
		}
	}
	if text := b.Err(1).Error(); !strings.Contains(text, "200") || !strings.Contains(text, "expected 202") {
		t.Errorf("got %q", text)
	}
	if n := testutil.ToFloat64(r.metrics.unexpected); n != 3 {
		t.Errorf("%v answers were counted as unexpected, want 3", n)
	}
	if n := testutil.ToFloat64(r.metrics.requests.WithLabelValues("202")); n != 3 {
		t.Errorf("%v answers of 202, want 3", n)
	}
}

func TestStrictTakesEachAnswerAndNoneAsTheLastWord(t *testing.T) {
	for _, format := range []string{formatSingle, formatArray} {
		for name, answer := range map[string]http.HandlerFunc{
			"answered 429": with(429, `{}`), "answered 503": with(503, `{}`), "answered 404": with(404, `{}`),
			"expected 202": with(200, `{}`), "EOF": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		} {
			r := open(t, func(c *Config) { c.Format, c.Expect = format, &Expect{Status: 202, Strict: true} }, answer)
			b := batch("a", "b")
			if err := r.Write(t.Context(), b); err != nil {
				t.Errorf("%s, %s: %v", format, name, err)
			}
			for row := range b.All() {
				if err := b.Err(row); b.Outcome(row) != event.Refused || stage.ClassOf(err) != stage.BadEvent || !strings.Contains(err.Error(), name) {
					t.Errorf("%s, %s: row %d is %v: %v", format, name, row, b.Outcome(row), err)
				}
			}
		}
	}
}

func TestNoMoreRequestsAtOnceThanConnections(t *testing.T) {
	var now, most atomic.Int64
	all := make(chan struct{})
	closeAll := sync.OnceFunc(func() { close(all) })
	r := open(t, func(c *Config) { c.Format, c.Connections = formatSingle, 3 }, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 3 {
			closeAll() // three there are, and none of them waits any more
		}
		<-all
	})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 2 { // two batches share the connections
		wg.Go(func() {
			b := batch("a", "b", "c", "d", "e")
			if err := r.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 || failed.Load() > 0 {
		t.Errorf("%d at once, %d batches failed", most.Load(), failed.Load())
	}
}

func TestEventsOfALaneKeepTheirOrder(t *testing.T) {
	r := open(t, single, func(w http.ResponseWriter, req *http.Request) {
		if body, _ := io.ReadAll(req.Body); bytes.Contains(body, []byte("third")) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	b := batch("first", "second", "third", "fourth")
	b.SetLane("file")
	if err := r.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, req := range r.requests {
		var e event.Event
		var body struct{ Message string }
		if err := json.Unmarshal([]byte(req.body), &body); err != nil {
			t.Fatal(err)
		}
		e.Message = body.Message
		sent = append(sent, e.Message)
	}
	if fmt.Sprint(sent) != "[first second third]" {
		t.Errorf("sent %v: the fourth must not overtake the third", sent)
	}
	if b.Err(1) != nil || b.Err(2) == nil || b.Err(3) == nil {
		t.Errorf("got %v, %v, %v", b.Err(1), b.Err(2), b.Err(3))
	}
}

func TestOneServerErrorDoesNotStopOthers(t *testing.T) {
	r := open(t, func(c *Config) { c.Format, c.Connections = formatSingle, 1 }, func(w http.ResponseWriter, req *http.Request) {
		if body, _ := io.ReadAll(req.Body); bytes.Contains(body, []byte("first")) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	b := batch("first", "second")
	if err := r.Write(t.Context(), b); err != nil || b.Err(0) == nil || b.Err(1) != nil {
		t.Errorf("%v; %v, %v", err, b.Err(0), b.Err(1))
	}
}

func TestAServiceThatIsAwayIsNotAskedForEachEvent(t *testing.T) {
	r := open(t, func(c *Config) { c.Format, c.Connections = formatSingle, 1 }, with(503, "closed"))
	b := batch("a", "b", "c")
	if err := r.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(r.requests) != 1 || b.Err(0) == nil || b.Err(2) == nil || stage.ClassOf(b.Err(2)) != stage.Retryable {
		t.Errorf("%d requests; %v, %v", len(r.requests), b.Err(0), b.Err(2))
	}
}

func TestASilentServiceTimesOut(t *testing.T) {
	release := make(chan struct{})
	r := open(t, func(c *Config) { c.Timeout = stage.Duration(50 * time.Millisecond) },
		func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-release:
			case <-req.Context().Done():
			}
		})
	t.Cleanup(func() { close(release) })
	err := r.Write(t.Context(), batch("a"))
	if stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "timeout 50ms") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(r.metrics.requests.WithLabelValues("none")); n != 1 {
		t.Errorf("%v requests without an answer were counted", n)
	}
}

func TestAServiceThatIsNotThereIsWeather(t *testing.T) {
	r := &rig{}
	r.openAt(t, "http://127.0.0.1:1/x?token=geheim", nil)
	err := r.Write(t.Context(), batch("a"))
	if stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}
