package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// server takes log events by POST, single ones and NDJSON, and answers when
// Kafka has them; without TOPIC, at once.
type server struct {
	client *kgo.Client // nil: no Kafka
	decode func(*entry, []byte) error
	memory sync.Pool
}

// serveHTTP is what one would write by hand instead of a pipeline from HTTP to
// Kafka: decode, check, produce what came, wait, answer.
func serveHTTP(ctx context.Context) error {
	s := &server{decode: (*entry).read, memory: sync.Pool{New: func() any { return newExchange() }}}
	if os.Getenv("DECODER") == "encoding/json" {
		s.decode = standard
	}
	if os.Getenv("TOPIC") != "" {
		linger, err := time.ParseDuration(os.Getenv("LINGER"))
		if err != nil {
			return fmt.Errorf("LINGER: %w", err)
		}
		if s.client, err = producer(kgo.ProducerLinger(linger)); err != nil {
			return err
		}
		defer s.client.Close()
	}
	web := &http.Server{Addr: os.Getenv("INGEST"), Handler: s, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 40 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() {
		<-ctx.Done()
		_ = web.Shutdown(context.Background()) // all connections are idle by then
	}()
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// exchange is the memory of one request.
type exchange struct {
	body    []byte
	out     []byte
	entries []entry
	records []kgo.Record
	pending sync.WaitGroup
	failed  error
	mu      sync.Mutex
	promise func(*kgo.Record, error)
}

func newExchange() *exchange {
	x := &exchange{}
	x.promise = func(_ *kgo.Record, err error) {
		if err != nil {
			x.mu.Lock()
			x.failed = err
			x.mu.Unlock()
		}
		x.pending.Done()
	}
	return x
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/api/logs" {
		http.NotFound(w, r)
		return
	}
	x := s.memory.Get().(*exchange)
	defer s.memory.Put(x)
	if err := x.take(r); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	single := r.Header.Get("Content-Type") == "application/json"
	if err := x.understand(s.decode, single); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.client != nil {
		if err := x.send(r.Context(), s.client); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	x.answer(w, single)
}

const maxBody = 10 << 20

// take reads the body.
func (x *exchange) take(r *http.Request) error {
	if r.ContentLength < 0 || r.ContentLength > maxBody {
		return errors.New("a Content-Length of up to 10 MiB must be given")
	}
	if int64(cap(x.body)) < r.ContentLength {
		x.body = make([]byte, r.ContentLength)
	}
	x.body = x.body[:r.ContentLength]
	_, err := io.ReadFull(r.Body, x.body)
	return err
}

// understand decodes and checks events.
func (x *exchange) understand(decode func(*entry, []byte) error, single bool) error {
	x.entries = x.entries[:0]
	for rest := x.body; len(rest) > 0; {
		var line []byte
		if line, rest = rest, nil; !single {
			line, rest, _ = bytes.Cut(line, []byte{'\n'})
		}
		if len(x.entries) < cap(x.entries) {
			x.entries = x.entries[:len(x.entries)+1]
		} else {
			x.entries = append(x.entries, entry{})
		}
		e := &x.entries[len(x.entries)-1]
		*e = entry{line: line}
		if err := decode(e, line); err != nil {
			return err
		}
		if err := e.complete(); err != nil {
			return err
		}
	}
	return nil
}

// send produces what came, and waits for Kafka's answers.
func (x *exchange) send(ctx context.Context, client *kgo.Client) error {
	x.failed, x.records = nil, x.records[:0]
	for i := range x.entries {
		e := &x.entries[i]
		x.records = append(x.records, kgo.Record{Key: e.source, Value: e.line})
	}
	x.pending.Add(len(x.records))
	for i := range x.records {
		client.Produce(ctx, &x.records[i], x.promise)
	}
	x.pending.Wait()
	return x.failed
}

func (x *exchange) answer(w http.ResponseWriter, single bool) {
	x.out = x.out[:0]
	if single {
		id, _ := x.entries[0].id.MarshalText() // cannot fail
		x.out = append(append(append(x.out, `{"eventId":"`...), id...), `","status":"Accepted","timestamp":"`...)
	} else {
		x.out = strconv.AppendInt(append(x.out, `{"accepted":`...), int64(len(x.entries)), 10)
		x.out = append(x.out, `,"failed":0,"timestamp":"`...)
	}
	x.out = append(time.Now().UTC().AppendFormat(x.out, "2006-01-02T15:04:05.000Z"), `"}`...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(x.out)))
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(x.out) // a client that has gone needs no answer
}

// entry is an event as far as somebody cares who only passes it on.
type entry struct {
	line                           []byte
	id                             uuid.UUID
	level, source, message, stated []byte // stated: its id, if it came with one
}

// complete checks an event and gives it an id.
func (e *entry) complete() (err error) {
	switch {
	case len(bytes.TrimSpace(e.source)) == 0:
		return errors.New("source must be there and not be blank")
	case len(bytes.TrimSpace(e.message)) == 0:
		return errors.New("message must be there and not be blank")
	}
	switch string(e.level) {
	case "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL":
	default:
		return errors.New("level must be one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
	}
	if len(e.stated) > 0 {
		e.id, err = uuid.ParseBytes(e.stated)
	} else {
		e.id, err = uuid.NewV7()
	}
	return err
}

// standard decodes with encoding/json, into a struct with all the fields.
func standard(e *entry, line []byte) error {
	var v struct {
		EventID       string         `json:"eventId"`
		Timestamp     time.Time      `json:"timestamp"`
		Level         string         `json:"level"`
		Source        string         `json:"source"`
		Hostname      string         `json:"hostname"`
		Message       string         `json:"message"`
		CorrelationID string         `json:"correlationId"`
		StackTrace    string         `json:"stackTrace"`
		Metadata      map[string]any `json:"metadata"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return err
	}
	e.level, e.source, e.message, e.stated = []byte(strings.ToUpper(v.Level)), []byte(v.Source), []byte(v.Message), []byte(v.EventID)
	return nil
}
