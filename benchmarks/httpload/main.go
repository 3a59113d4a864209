// Httpload sends log events to an HTTP source over connections that are kept,
// and prints what came back as a JSON object:
//
//	httpload -address 127.0.0.1:8081 -connections 50 -for 5s              # each sends its next request when the last is answered
//	httpload -address 127.0.0.1:8081 -events 100                          # 100 events of NDJSON a request
//	httpload -address 127.0.0.1:8081 -rate 5000                           # 5000 requests/s, whatever the answers take
//
// It shares its machine with what it measures, so it does as little as it can:
// requests are built before, answers are looked at no more than needed. With
// -rate, latency counts from when a request was due, so that a server which
// falls behind shows it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is what is sent.
type load struct {
	address     string
	connections int
	events      int // of a request
	rate        int // requests/s; 0: as fast as they are answered
	warm, took  time.Duration
	requests    []string // sent in turns
	stop        atomic.Bool
	counts      atomic.Bool // the warm-up is over
}

// Result is what came back.
type Result struct {
	Sent     int     `json:"sent"`     // with those of the warm-up
	Requests int     `json:"requests"` // without
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Max      float64 `json:"max_ms"`
	CPU      float64 `json:"cpu_s"` // of this process
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("httpload: ")
	l := &load{}
	path := flag.String("path", "/api/logs", "where to post")
	flag.StringVar(&l.address, "address", "127.0.0.1:8081", "where the source listens")
	flag.IntVar(&l.connections, "connections", 50, "how many")
	flag.IntVar(&l.events, "events", 1, "events of a request; more than one: NDJSON")
	flag.IntVar(&l.rate, "rate", 0, "requests/s; 0: as fast as they are answered")
	flag.DurationVar(&l.took, "for", 5*time.Second, "how long it is measured")
	flag.DurationVar(&l.warm, "warm", time.Second, "how long requests are sent before that")
	flag.Parse()
	l.requests = requests(l.address, *path, l.events)
	r, err := l.run()
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

func (l *load) run() (Result, error) {
	tallies := make([]tally, l.connections)
	for i := range tallies {
		t := &tallies[i]
		t.late = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
		conn, err := net.Dial("tcp", l.address)
		if err != nil {
			return Result{}, err
		}
		defer conn.Close()
		t.conn, t.in, t.at = conn, bufio.NewReaderSize(conn, 512), i*len(l.requests)/l.connections
	}
	var clients sync.WaitGroup
	began := time.Now()
	for i := range tallies {
		clients.Go(func() { tallies[i].err = l.talk(&tallies[i], began, i) })
	}
	time.Sleep(l.warm)
	l.counts.Store(true)
	from, cpu := time.Now(), used()
	time.Sleep(l.took)
	l.stop.Store(true)
	took := time.Since(from)
	cpu = used() - cpu
	clients.Wait()
	return add(tallies, took, cpu)
}

func add(tallies []tally, took, cpu time.Duration) (Result, error) {
	r := Result{Seconds: took.Seconds(), CPU: cpu.Seconds()}
	all := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	var errs []error
	for i := range tallies {
		t := &tallies[i]
		errs = append(errs, t.err)
		r.Sent, r.Requests = r.Sent+t.sent, r.Requests+t.counted
		all.Merge(t.late)
	}
	ms := func(q float64) float64 { return float64(all.ValueAtPercentile(q)) / 1000 }
	r.P50, r.P99, r.P999, r.Max = ms(50), ms(99), ms(99.9), float64(all.Max())/1000
	return r, errors.Join(errs...)
}

// tally is one connection and what came over it.
type tally struct {
	conn          net.Conn
	in            *bufio.Reader
	at            int // in requests
	sent, counted int
	late          *hdrhistogram.Histogram
	err           error
}

// talk sends one request after the other until it is told to stop.
func (l *load) talk(t *tally, began time.Time, number int) error {
	due := began
	var every time.Duration
	if l.rate > 0 {
		every = time.Duration(int64(l.connections) * int64(time.Second) / int64(l.rate))
		due = due.Add(every * time.Duration(number) / time.Duration(l.connections)) // not all at once
	}
	for !l.stop.Load() {
		if l.rate > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		counts := l.counts.Load()
		if err := t.send(l.requests[t.at]); err != nil {
			return err
		}
		if counts && !l.stop.Load() {
			t.counted++
			if err := t.late.RecordValue(max(1, time.Since(due).Microseconds())); err != nil {
				return err
			}
		}
		t.at = (t.at + 1) % len(l.requests)
		due = due.Add(every)
	}
	return nil
}

// send sends a request and reads its answer, which must be a good one.
func (t *tally) send(request string) error {
	if _, err := io.WriteString(t.conn, request); err != nil {
		return err
	}
	t.sent++
	length := -1
	for first := true; ; first = false {
		line, err := t.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && (len(line) < 12 || line[9] != '2'):
			rest, _ := t.in.Peek(t.in.Buffered()) // what is there says more than nothing
			return fmt.Errorf("answered %s%s", line, rest)
		case len(line) == 2:
			if length < 0 {
				return errors.New("an answer came without Content-Length")
			}
			_, err := t.in.Discard(length)
			return err
		case len(line) > 18 && string(line[:16]) == "Content-Length: ":
			length = number(line[16 : len(line)-2])
		}
	}
}

func number(digits []byte) (n int) {
	for _, d := range digits {
		n = n*10 + int(d-'0')
	}
	return n
}

// variety is how many different requests are sent: enough for compression to
// have something to do.
const variety = 500

// requests makes them, each event of 350 bytes.
func requests(address, path string, events int) []string {
	kind := "application/json"
	if events > 1 {
		kind = "application/x-ndjson"
	}
	all := make([]string, variety)
	for i := range all {
		var body strings.Builder
		for j := range events {
			body.WriteString(event(uint64(i*events + j)))
			body.WriteByte('\n')
		}
		text := strings.TrimSuffix(body.String(), "\n")
		all[i] = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: httpload\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, address, kind, len(text), text)
	}
	return all
}

// event is one of 350 bytes, without an id, so that each time it is sent it is
// another one.
func event(n uint64) string {
	const size = 350
	random := (n + 1) * 0x9e3779b97f4a7c15 // spread over all bits
	level := []string{"INFO", "WARN", "ERROR", "DEBUG"}[random>>62]
	text := fmt.Sprintf(`{"timestamp":"2026-03-01T12:%02d:%02d.%06dZ","level":"%s","source":"payments-%d","hostname":"web-%d.example.org",`+
		`"message":"card declined by issuer after %d attempts`, n/60%60, n%60, random%1e6, level, random>>60, random>>56&15, random%9+1)
	tail := fmt.Sprintf(`","correlationId":"%016x-%016x","metadata":{"thread_id":"worker-%d","user_id":"u-%d","amount":%d}}`,
		random, random*31, random%8, random%10000, random%500)
	return text + strings.Repeat(".", max(0, size-len(text)-len(tail))) + tail
}

// used is the CPU time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
