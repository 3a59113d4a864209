package http

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// held keeps parcels until the test lets them go.
type held struct {
	mu      sync.Mutex
	parcels []event.Parcel
}

func (h *held) keep(p event.Parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parcels = append(h.parcels, p)
}

func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parcels)
}

// end settles all of them.
func (h *held) end(o event.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.parcels {
		p.Done(receiptOf(p, o, nil))
	}
	h.parcels = nil
}

func soon(c *Config) { c.AckTimeout = stage.Duration(20 * time.Millisecond) }

func TestARequestThatIsNotSettledInTimeMayBeSentAgain(t *testing.T) {
	b := start(t, soon)
	var h held
	b.fate(h.keep)
	b.until("a request is read within its time", func() bool {
		a := b.post("/api/logs", withID)
		a.says(t, 503, "not settled within 20ms", `"eventId":"0192f0c1-2345-7abc-8def-0123456789ab"`)
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		b.until("it was read, or taken out of the line", func() bool { return h.count() > 0 || b.src.budget.used.Load() == 0 })
		return h.count() > 0
	})
	b.get("/api/logs/health").says(t, 503, `"status":"DOWN"`, "nothing was settled in time")
	if b.src.budget.used.Load() == 0 {
		t.Error("what waits takes no room")
	}
	h.end(event.Delivered) // the dependency is back
	b.get("/api/logs/health").says(t, 200, `"status":"UP"`, `"messagesSent":1`)
	b.fate(func(p event.Parcel) { p.Done(receiptOf(p, event.Delivered, nil)) })
	b.until("it is answered well", func() bool { return b.post("/api/logs", withID).StatusCode == 202 })
	for _, e := range b.got()[1:] {
		if e.ID != b.got()[0].ID {
			t.Errorf("sent again, it is another event: %v", b.got())
		}
	}
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

func TestReceivedIsAnsweredBeforeAnythingHasBecomeOfIt(t *testing.T) {
	b := start(t, func(c *Config) { c.Ack = ackReceived })
	var h held
	b.fate(h.keep)
	b.post("/api/logs", hello).says(t, 202)
	b.until("it was read", func() bool { return h.count() == 1 })
	h.end(event.Rejected)
	b.until("it is counted", func() bool { return strings.Contains(b.get("/api/logs/health").body, `"messagesFailed":1`) })
}

// A request's memory is used again: what comes too late for one must not be
// taken for the answer of another.
func TestAnswersThatComeJustInTimeOrJustTooLateAreThoseOfTheirRequest(t *testing.T) {
	b := start(t, func(c *Config) { c.AckTimeout = stage.Duration(time.Millisecond) })
	var settling sync.WaitGroup
	b.fate(func(p event.Parcel) {
		settling.Go(func() {
			_ = stage.SystemClock.Sleep(context.Background(), time.Duration(rand.N(2_000))*time.Microsecond)
			p.Done(receiptOf(p, event.Delivered, nil))
		})
	})
	var posting sync.WaitGroup
	var yes atomic.Int64
	for range 8 {
		posting.Go(func() {
			for range 50 {
				id := uuid.NewString()
				a := b.post("/api/logs", `{"id":"`+id+`","source":"shop","level":"INFO","message":"hello"}`)
				if a.StatusCode == 202 {
					yes.Add(1)
				}
				if a.StatusCode != 202 && a.StatusCode != 503 || !strings.Contains(a.body, id) {
					t.Errorf("to %s: %d %s", id, a.StatusCode, a.body)
				}
			}
		})
	}
	posting.Wait()
	b.close() // nothing is read any more
	settling.Wait()
	if n := b.src.metrics.totals(); n.sent < yes.Load() {
		t.Errorf("%d were delivered, %d answered so", n.sent, yes.Load())
	}
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

func TestAClientThatGoesAwayLeavesNothingBehind(t *testing.T) {
	b := start(t, nil)
	var h held
	b.fate(h.keep)
	ctx, cancel := context.WithCancel(context.Background())
	var posting sync.WaitGroup
	for range 20 {
		posting.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/api/logs", strings.NewReader(hello))
			if a, err := b.client.Do(req); err == nil {
				_ = a.Body.Close()
				t.Error("answered without being settled")
			}
		})
	}
	b.until("all were read", func() bool { return h.count() == 20 })
	cancel()
	posting.Wait()
	h.end(event.Delivered)
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
	if n := b.src.metrics.totals(); n.sent != 20 {
		t.Errorf("%d were delivered", n.sent)
	}
	// And half a request.
	conn, err := net.Dial("tcp", b.src.listener.address())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	b.until("it is being read", func() bool { return b.src.budget.used.Load() > perRequest })
	_ = conn.Close()
	b.until("its room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

func TestWhenThePipelineStopsEveryRequestGetsItsAnswer(t *testing.T) {
	b := start(t, nil)
	var h held
	b.fate(h.keep)
	answers := make(chan answer, 3)
	for range 3 {
		go func() { answers <- b.post("/api/logs", hello) }()
	}
	b.until("all were read", func() bool { return h.count() == 3 })
	b.stop()
	b.read.Wait()
	a := b.post("/api/logs", hello)
	a.says(t, 503, "starting, paused or stopping")
	if a.Header.Get("Retry-After") != "5" || !a.Close {
		t.Errorf("a request after the stop: %v, close %v", a.Header, a.Close)
	}
	b.get("/api/logs/health").says(t, 503, "DOWN")
	h.mu.Lock()
	one, two := h.parcels[0], h.parcels[1:]
	h.parcels = two
	h.mu.Unlock()
	one.Done(receiptOf(one, event.Delivered, nil))
	h.end(event.Returned)
	b.close()
	codes := map[int]int{}
	for range 3 {
		a := <-answers
		codes[a.StatusCode]++
		if a.StatusCode == 503 && a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if codes[202] != 1 || codes[503] != 2 {
		t.Errorf("answers %v", codes)
	}
}

func TestNothingIsTakenBeforeTheEngineReads(t *testing.T) {
	b := opened(t, nil)
	b.post("/api/logs", hello).says(t, 503, "starting, paused or stopping")
	b.begin()
	b.post("/api/logs", hello).says(t, 202)
}

// What was answered 202 on receipt must not be lost because the pipeline is
// told to stop.
func TestWhatWasReceivedIsStillReadWhenTheSourceIsToldToStop(t *testing.T) {
	b := opened(t, func(c *Config) { c.Ack = ackReceived })
	ctx, cancel := context.WithCancel(context.Background())
	read := make(chan event.Parcel, 100)
	go func() { // one Read, so that the source is open for requests
		p, err := b.src.Read(ctx)
		if err == nil {
			read <- p
		}
	}()
	b.until("it reads", b.src.reads)
	for range 10 {
		b.post("/api/logs", hello).says(t, 202)
	}
	cancel()
	total := 1 // the one above
	for {
		p, err := b.src.Read(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		p.Done(receiptOf(p, event.Delivered, nil))
		total++
	}
	p := <-read
	p.Done(receiptOf(p, event.Delivered, nil))
	if total != 10 {
		t.Errorf("%d of 10 answered requests were read", total)
	}
	b.post("/api/logs", hello).says(t, 503)
}
