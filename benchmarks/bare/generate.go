package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/benchmarks/internal/logevent"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/source/generator"
)

// slot is the memory of one batch that is on its way to Kafka.
type slot struct {
	buf     []byte
	records []kgo.Record
	waiting atomic.Int64
	failed  atomic.Pointer[error]
	promise func(*kgo.Record, error)
}

// window is the batches that may be on their way, and are not.
type window chan *slot

func newWindow(n int) window {
	w := make(window, n)
	for range n {
		s := &slot{}
		s.promise = func(_ *kgo.Record, err error) {
			if err != nil {
				s.failed.Store(&err)
			}
			if s.waiting.Add(-1) == 0 {
				w <- s
			}
		}
		w <- s
	}
	return w
}

// take waits for room.
func (w window) take() (*slot, error) {
	s := <-w
	if err := s.failed.Load(); err != nil {
		return nil, *err
	}
	s.buf, s.records = s.buf[:0], s.records[:0]
	return s, nil
}

// wait waits until everything is answered.
func (w window) wait() error {
	for range cap(w) {
		if _, err := w.take(); err != nil {
			return err
		}
	}
	return nil
}

func (s *slot) send(client *kgo.Client) {
	s.waiting.Store(int64(len(s.records)))
	for i := range s.records {
		client.Produce(context.Background(), &s.records[i], s.promise)
	}
}

func settings() stage.Settings {
	return stage.Settings{
		Pipeline: "bare", Route: "bare", Name: "generator", Instance: "bench-1", Log: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock, Mount: func(string, http.Handler) error { return nil },
	}
}

// content opens the generator of pipelines/generate.yaml.
func content(events int) (stage.Reader, error) {
	c := generator.Stage.New().(*generator.Config)
	c.Rate, c.Count = generator.Max, int64(events)
	return c.Open(context.Background(), settings())
}

// size is the most events of a batch, as in pipelines/generate.yaml.
const size = 500

// generate makes and encodes events and produces them.
func generate(ctx context.Context) error {
	client, batches, events, err := begin()
	if err != nil {
		return err
	}
	defer client.Close()
	reader, err := content(events)
	if err != nil {
		return err
	}
	frame := logevent.Frame(1)
	for {
		p, err := reader.Read(ctx)
		if errors.Is(err, io.EOF) {
			return batches.wait()
		}
		if err != nil {
			return err
		}
		for rest := p.Events; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			s, err := batches.take()
			if err != nil {
				return err
			}
			s.encode(rest[:min(size, len(rest))], frame)
			s.send(client)
		}
		p.Done(event.Receipt{})
	}
}

func begin() (*kgo.Client, window, int, error) {
	events, err := number("EVENTS", 1_000_000)
	if err != nil {
		return nil, nil, 0, err
	}
	inFlight, err := number("IN_FLIGHT", 4)
	if err != nil {
		return nil, nil, 0, err
	}
	client, err := producer()
	return client, newWindow(inFlight), events, err
}

func (s *slot) encode(events []event.Event, frame []byte) {
	for i := range events {
		e := &events[i]
		start := len(s.buf)
		s.buf = append(s.buf, e.CorrelationID...)
		middle := len(s.buf)
		s.buf = logevent.Append(append(s.buf, frame...), e)
		s.records = append(s.records, kgo.Record{
			Key: s.buf[start:middle:middle], Value: s.buf[middle:len(s.buf):len(s.buf)], Timestamp: time.Unix(0, e.Due),
		})
	}
}

// distinct is how many different events the encoded ones are: more than a batch
// of Kafka holds, so that
// compression meets what it meets with fresh ones, and few enough to stay in
// the cache, where fresh ones are.
const distinct = 10_000

// encoded produces records that were encoded before the clock of the topic
// starts.
func encoded(ctx context.Context) error {
	client, batches, events, err := begin()
	if err != nil {
		return err
	}
	defer client.Close()
	ready, err := encodeAll(ctx, min(events, distinct))
	if err != nil {
		return err
	}
	for n := 0; n < events; {
		s, err := batches.take()
		if err != nil {
			return err
		}
		at := n % len(ready)
		records := ready[at:min(at+size, at+events-n, len(ready))]
		s.records = append(s.records, records...)
		s.send(client)
		n += len(records)
	}
	return batches.wait()
}

func encodeAll(ctx context.Context, events int) ([]kgo.Record, error) {
	reader, err := content(events)
	if err != nil {
		return nil, err
	}
	var all slot
	for {
		p, err := reader.Read(ctx)
		if errors.Is(err, io.EOF) {
			return all.records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("making events: %w", err)
		}
		all.encode(p.Events, logevent.Frame(1))
		p.Done(event.Receipt{})
	}
}
