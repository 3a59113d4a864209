package http

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// zeros are bytes without end, counted.
type zeros struct {
	left int64
	sent atomic.Int64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	z.sent.Add(n)
	return int(n), nil
}

func TestAGigabyteIsCutOffAtTheLimit(t *testing.T) {
	b := start(t, nil)
	for _, announced := range []bool{true, false} {
		z := &zeros{left: 1 << 30}
		req, _ := http.NewRequest(http.MethodPost, b.url+"/api/logs", z)
		if announced {
			req.ContentLength = 1 << 30
		}
		a, err := b.client.Do(req)
		if err == nil { // the connection may also end while it is still being sent
			if a.StatusCode != 413 {
				t.Errorf("announced %v: %s", announced, a.Status)
			}
			_ = a.Body.Close()
		}
		if n := z.sent.Load(); n > 64<<20 {
			t.Errorf("announced %v: %d MiB were taken", announced, n>>20)
		}
		b.client.CloseIdleConnections()
	}
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

// raw sends bytes and returns the answer; the rest of them may not get through.
func (b *bench) raw(request []byte) *http.Response {
	b.Helper()
	conn, err := net.Dial("tcp", b.src.listener.address())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = conn.Write(request) }()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func TestALargeBodyIsToldSo(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxBody = 1 << 10 })
	b.post("/api/logs", `{"source":"s","level":"INFO","message":"`+strings.Repeat("x", 1000)+`"}`).says(t, 413, "larger than 1KiB")
	b.post("/api/logs", `{"source":"s","level":"INFO","message":"`+strings.Repeat("x", 900)+`"}`).says(t, 202)
	a := b.raw([]byte("POST /api/logs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat("x", 2048) + "\r\n0\r\n\r\n"))
	if a.StatusCode != 413 || a.Header.Get("Content-Length") == "" {
		t.Errorf("%s %v", a.Status, a.Header)
	}
}

func packed(t testing.TB, plain io.Reader) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := io.Copy(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestPackedBodiesAreUnpackedAndBombsAreNot(t *testing.T) {
	b := start(t, nil)
	b.do(http.MethodPost, "/api/logs", bytes.NewReader(packed(t, strings.NewReader(hello))), "Content-Encoding", "gzip").says(t, 202)
	bomb := bytes.Repeat(packed(t, &zeros{left: 1 << 20}), 200) // one member of a gzip file after the other
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.do(http.MethodPost, "/api/logs", bytes.NewReader(bomb), "Content-Encoding", "gzip").says(t, 413, "10MiB")
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 100<<20 {
		t.Errorf("a bomb of %d KiB took %d MiB", len(bomb)>>10, grown>>20)
	}
	half := packed(t, strings.NewReader(hello))
	b.do(http.MethodPost, "/api/logs", bytes.NewReader(half[:len(half)-6]), "Content-Encoding", "gzip").says(t, 400, "not the gzip")
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

func TestARequestHoldsSoManyEventsAndNoMore(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxEvents = 3; c.Required = []string{} })
	b.post("/api/logs/batch", "[{},{},{}]").says(t, 202, `"accepted":3`)
	b.post("/api/logs/batch", "[{},{},{},{}]").says(t, 413, "more than 3 events")
	b.post("/api/logs", "a\nb\nc\nd", "Content-Type", "text/plain").says(t, 413)
	if n := len(b.got()); n != 3 {
		t.Errorf("%d events", n)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	b := start(t, func(c *Config) { c.ReadTimeout = stage.Duration(50 * time.Millisecond) })
	for _, part := range []string{"POST /api/logs HT", "POST /api/logs HTTP/1.1\r\nHost: x\r\nX-A: b\r\n", "POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"source\":"} {
		b.until("a client with a body that does not come is told so", func() bool {
			conn, err := net.Dial("tcp", b.src.listener.address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, part)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			said, err := io.ReadAll(conn) // until it is closed, or reset when it was closed before the part came
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%q: the connection is not closed: %v", part, err)
			}
			// On a busy machine the time may be over with the headers.
			return strings.Contains(string(said), " 408 ") || !strings.Contains(part, "Length")
		})
	}
	b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
}

// The time a client has to send must not end the wait for the answer.
func TestAnAnswerMayTakeLongerThanTheRequest(t *testing.T) {
	b := start(t, func(c *Config) { c.ReadTimeout = stage.Duration(200 * time.Millisecond) })
	var h held
	b.fate(h.keep)
	done := make(chan int, 1) // its status; 0: the connection was closed before the header had come
	b.until("a request is read within its time", func() bool {
		go func() {
			a, err := b.client.Post(b.url+"/api/logs", "application/json", strings.NewReader(hello))
			if err != nil {
				done <- 0
				return
			}
			_ = a.Body.Close()
			done <- a.StatusCode
		}()
		b.until("it was read, or was too slow", func() bool { return h.count() == 1 || len(done) == 1 })
		if h.count() == 0 {
			if status := <-done; status != 408 && status != 0 {
				t.Errorf("a request that was too slow is answered %d", status)
			}
		}
		return h.count() == 1
	})
	time.Sleep(400 * time.Millisecond) // twice what reading may take
	h.end(event.Delivered)
	if status := <-done; status != 202 {
		t.Errorf("answered %d", status)
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	b := start(t, nil)
	a := b.raw([]byte("POST /api/logs HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"))
	if a.StatusCode != 431 {
		t.Error(a.Status)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxConnections = 3 })
	var conns []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", b.src.listener.address())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		defer conn.Close()
	}
	b.until("all are counted", func() bool { return b.src.listener.keeper.open.Load() == 3 })
	extra, err := net.Dial("tcp", b.src.listener.address())
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	_ = extra.SetReadDeadline(time.Now().Add(patience))
	if n, err := extra.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the fourth connection stays open: %v", err)
	}
	_ = conns[0].Close()
	b.until("there is room again", func() bool { return b.src.listener.keeper.open.Load() < 3 })
	b.post("/api/logs", hello).says(t, 202)
}

func TestAFullBufferIs503AndPassesByItself(t *testing.T) {
	b := start(t, func(c *Config) {
		c.Ack, c.MaxBody, c.Buffer, c.BufferWait = ackReceived, 16<<10, 64<<10, 0
	})
	var h held
	b.fate(h.keep)
	accepted := 0
	var a answer
	for {
		if a = b.post("/api/logs", hello); a.StatusCode != 202 {
			break
		}
		if accepted++; accepted > 64 {
			t.Fatal("the buffer has no bound")
		}
	}
	a.says(t, 503, "too many requests wait")
	if a.Header.Get("Retry-After") != "1" || accepted < 5 {
		t.Errorf("after %d requests: %v", accepted, a.Header)
	}
	b.get("/api/logs/health").says(t, 503, "the buffer is full")
	b.until("all were read", func() bool { return h.count() == accepted })
	h.end(event.Delivered)
	b.post("/api/logs", hello).says(t, 202)
	h.end(event.Delivered)
	b.until("the last one was read", func() bool { h.end(event.Delivered); return b.src.budget.used.Load() == 0 })
}

// Many short attributes take more memory than their text: it counts, too.
func TestTheBufferCountsAttributes(t *testing.T) {
	const attributes, events = 1000, 20
	var one strings.Builder
	one.WriteString(`{"source":"s","level":"INFO","message":"m"`)
	for i := range attributes {
		fmt.Fprintf(&one, `,"%x":1`, i)
	}
	one.WriteString("}\n")
	const memory = events * attributes * int64(unsafe.Sizeof(event.Attribute{}))
	for kind, body := range map[string]string{
		"application/x-ndjson": strings.Repeat(one.String(), events),
		"application/json":     "[" + strings.Repeat(one.String()+",", events-1) + one.String() + "]",
	} {
		b := start(t, func(c *Config) { c.MaxBody, c.Buffer = 1<<20, 4<<20 })
		var used atomic.Int64
		b.fate(func(p event.Parcel) {
			used.Store(b.src.budget.used.Load())
			p.Done(receiptOf(p, event.Delivered, nil))
		})
		for range 3 { // also with memory that is used again
			b.post("/api/logs", body, "Content-Type", kind).says(t, 202)
			if got := used.Load(); got < memory {
				t.Errorf("%d bytes are counted, for attributes of %d", got, memory)
			}
			b.until("all room is given back", func() bool { return b.src.budget.used.Load() == 0 })
		}
		small := start(t, func(c *Config) { c.MaxBody, c.Buffer = 256<<10, 512<<10 })
		small.post("/api/logs", body, "Content-Type", kind).says(t, 413, "send fewer at once")
		small.until("all room is given back", func() bool { return small.src.budget.used.Load() == 0 })
		small.post("/api/logs", hello).says(t, 202)
	}
}

func TestARequestWaitsForRoomBeforeItIsRefused(t *testing.T) {
	b := start(t, func(c *Config) {
		c.MaxBody, c.Buffer, c.BufferWait = 4<<10, 8<<10, stage.Duration(patience)
	})
	var h held
	b.fate(h.keep)
	answers := make(chan answer, 2)
	go func() { answers <- b.post("/api/logs", hello) }()
	b.until("one was read", func() bool { return h.count() == 1 })
	go func() { answers <- b.post("/api/logs", hello) }()
	b.until("another one waits", func() bool { return b.src.budget.waiting.Load() == 1 })
	h.end(event.Delivered)
	b.until("it was read", func() bool { return h.count() == 1 })
	h.end(event.Delivered)
	for range 2 {
		(<-answers).says(t, 202)
	}
}

// Bodies that are announced and not sent take no room from others.
func TestWhatIsOnlyAnnouncedTakesNoRoom(t *testing.T) {
	b := start(t, nil)
	for range 50 {
		conn, err := net.Dial("tcp", b.src.listener.address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", 10<<20)
	}
	b.until("all are being read", func() bool { return b.src.budget.used.Load() >= 50*(perRequest+1) })
	if used := b.src.budget.used.Load(); used > 1<<20 {
		t.Errorf("%d bytes are taken", used)
	}
	b.post("/api/logs", hello).says(t, 202)
}

func TestABudgetIsNeverOverdrawn(t *testing.T) {
	b := newBudget(100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var over atomic.Bool
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 2000 {
				if b.await(ctx, 40, patience) {
					if b.used.Load() > 100 {
						over.Store(true)
					}
					b.give(40)
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	if over.Load() || b.used.Load() != 0 {
		t.Errorf("overdrawn %v, %d left", over.Load(), b.used.Load())
	}
}
