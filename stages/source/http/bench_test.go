//go:build unix

package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// line is an event of 350 bytes.
var line = func() string {
	const head = `{"eventId":"0192f0c1-2345-7abc-8def-0123456789ab","timestamp":"2026-03-01T12:00:00.123456Z","level":"WARN","source":"payments",` +
		`"hostname":"web-1.example.org","message":"card declined by issuer after 3 attempts`
	const tail = `","correlationId":"0192f0c1-2345-7abc-8def-0123456789ac","metadata":{"thread_id":"worker-3","user_id":"u-1234","amount":120}}`
	return head + strings.Repeat(".", 350-len(head)-len(tail)) + tail
}()

func BenchmarkDecode(b *testing.B) {
	s := quiet(b, nil)
	for _, c := range []struct {
		name, format string
		events       int
	}{{"single", formatJSON, 1}, {"ndjson of 100", formatNDJSON, 100}, {"array of 100", formatJSON, 100}} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(line)
			switch {
			case c.format == formatNDJSON:
				body = []byte(strings.Repeat(line+"\n", c.events))
			case c.events > 1:
				body = []byte("[" + strings.Repeat(line+",", c.events-1) + line + "]")
			}
			r := newRequest(s)
			req, _ := http.NewRequest(http.MethodPost, "/", nil)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for range b.N {
				s.budget.used.Store(0)
				r.begin(time.Now())
				r.body = body
				r.prepare(req, noOne, c.format)
				if no := r.decode(c.format, false); no != nil || len(r.events) != c.events {
					b.Fatal(no)
				}
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N*c.events), "cpu-ns/event")
		})
	}
}

// BenchmarkRequests measures requests over 50 connections that are kept, against a
// bare handler that decodes with the same library and answers at once. The two
// are measured in turns, since the machine's other work comes and goes.
func BenchmarkRequests(b *testing.B) {
	for _, c := range []struct {
		name, kind string
		events     int
	}{{"single", "application/json", 1}, {"ndjson of 100", "application/x-ndjson", 100}} {
		b.Run(c.name, func(b *testing.B) {
			body := strings.TrimSuffix(strings.Repeat(line+"\n", c.events), "\n")
			bare, closeBare := bareServer(b)
			defer closeBare()
			ours := start(b, nil)
			ours.fate(nil)
			request := fmt.Sprintf("POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", c.kind, len(body), body)
			var took, worked [2]time.Duration
			b.ResetTimer()
			const turns = 10
			for range turns {
				for i, address := range []string{bare, ours.src.listener.address()} {
					began, before := time.Now(), cpu()
					hammer(b, address, request, max(1, b.N/turns))
					took[i] += time.Since(began)
					worked[i] += cpu() - before
				}
			}
			n := float64(turns * max(1, b.N/turns))
			b.ReportMetric(n/took[0].Seconds(), "bare-req/s")
			b.ReportMetric(n/took[1].Seconds(), "req/s")
			b.ReportMetric(100*took[0].Seconds()/took[1].Seconds(), "%of-bare")
			b.ReportMetric(float64(worked[0].Microseconds())/n, "bare-cpu-us/req")
			b.ReportMetric(float64(worked[1].Microseconds())/n, "cpu-us/req")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpu is the time that this process has worked so far, clients included.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareServer is what one would write by hand: decode, answer.
func bareServer(b *testing.B) (address string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	type memory struct {
		body   []byte
		events []event.Event
	}
	pool := sync.Pool{New: func() any { return &memory{} }}
	var settled atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := pool.Get().(*memory)
		defer pool.Put(m)
		if cap(m.body) < int(r.ContentLength) {
			m.body = make([]byte, r.ContentLength)
		}
		m.body = m.body[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, m.body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		m.events = m.events[:0]
		for part := range strings.Lines(textOf(m.body)) {
			if len(m.events) < cap(m.events) {
				m.events = m.events[:len(m.events)+1]
			} else {
				m.events = append(m.events, event.Event{})
			}
			if eventjson.DecodeString(part, &m.events[len(m.events)-1]) != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		settled.Add(int64(len(m.events)))
		answer := `{"eventId":"` + m.events[0].ID.String() + `","status":"Accepted","timestamp":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}`
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, answer)
	})}
	ended := make(chan struct{})
	go func() { _ = server.Serve(l); close(ended) }()
	return l.Addr().String(), func() { _ = server.Close(); <-ended }
}

// hammer sends a request n times over 50 connections.
func hammer(b *testing.B, address, request string, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for left.Add(-1) >= 0 {
				if _, err := io.WriteString(conn, request); err != nil {
					b.Error(err)
					return
				}
				if err := accepted(in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// accepted reads an answer with little work, since the client shares the
// machine with what is measured.
func accepted(in *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		text, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && string(text[9:12]) != "202":
			return fmt.Errorf("answered %s", text)
		case len(text) == 2:
			_, err := in.Discard(length)
			return err
		case strings.HasPrefix(textOf(text), "Content-Length: "):
			length, _ = strconv.Atoi(strings.TrimSpace(textOf(text[16:])))
		}
	}
}
