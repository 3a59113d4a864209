package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// writer is the opened sink.
type writer struct {
	cfg       *Config
	address   *url.URL
	place     string // the address for errors
	host      string // of the Host header; "": the address's
	header    http.Header
	client    *http.Client
	closeIdle func()
	turns     chan struct{} // one for each request that may be under way
	clock     stage.Clock
	metrics   *metrics
}

// Write sends the open events and waits for the answers.
func (w *writer) Write(ctx context.Context, b *event.Batch) error {
	if b.Count(event.Open) == 0 {
		return nil
	}
	p := w.encode(b)
	defer p.release()
	if w.cfg.Format == formatSingle {
		return w.writeEach(ctx, p, b)
	}
	v := w.send(ctx, p, p.parts[0])
	switch {
	case v.err == nil:
		return w.takeItems(b, v)
	case v.taken:
		for row := range b.Open() {
			b.Refuse(row, v.err)
		}
		return nil
	default:
		return v.err
	}
}

// takeItems marks the events that the answer names as failed.
func (w *writer) takeItems(b *event.Batch, v verdict) error {
	if len(v.items) == 0 {
		return nil
	}
	rows := make([]int, 0, b.Len())
	for row := range b.Open() {
		rows = append(rows, row)
	}
	for _, item := range v.items {
		if item.index >= len(rows) {
			return stage.Fatal(fmt.Errorf("%s names event %d as failed, of %d that were sent", w.place, item.index, len(rows)))
		}
	}
	for _, item := range v.items {
		err := fmt.Errorf("%s: %s", w.place, item.reason)
		if item.again && !w.cfg.strict() {
			b.Fail(rows[item.index], err)
		} else {
			b.Refuse(rows[item.index], stage.Bad(err))
		}
	}
	return nil
}

// writeEach sends a request for each event: one after the other where their
// order must hold, else over all connections. What cannot succeed now ends the
// attempt for the events that were not sent yet.
func (w *writer) writeEach(ctx context.Context, p *payload, b *event.Batch) error {
	each := each{writer: w, payload: p, ordered: b.Lane() != "", errs: make([]error, len(p.parts))}
	workers := min(w.cfg.Connections, len(p.parts))
	if each.ordered || workers == 1 {
		each.work(ctx)
	} else {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { each.work(ctx) })
		}
		wg.Wait()
	}
	stopped := each.stopped.Load()
	for i, at := range p.parts {
		switch err := each.errs[i]; {
		case err == nil:
		case errors.Is(err, errNotSent):
			b.Fail(at.row, *stopped)
		case stage.ClassOf(err) == stage.BadEvent:
			b.Refuse(at.row, err)
		default:
			b.Fail(at.row, err)
		}
	}
	return nil
}

// each is one Write of format single.
type each struct {
	*writer
	payload *payload
	ordered bool
	next    atomic.Int64
	errs    []error               // by part, each written by the worker that had it
	stopped atomic.Pointer[error] // why the attempt ended early
}

var errNotSent = errors.New("not sent")

// work sends parts until there are no more.
func (e *each) work(ctx context.Context) {
	for {
		i := int(e.next.Add(1)) - 1
		if i >= len(e.payload.parts) {
			return
		}
		if e.stopped.Load() != nil {
			e.errs[i] = errNotSent
			continue
		}
		v := e.send(ctx, e.payload, e.payload.parts[i])
		e.errs[i] = v.err
		weather := v.err != nil && stage.ClassOf(v.err) != stage.BadEvent
		if weather && (v.away || e.ordered) {
			e.stopped.CompareAndSwap(nil, &v.err)
		}
	}
}

// send makes one request, and says what has become of its events.
func (w *writer) send(ctx context.Context, p *payload, at part) verdict {
	v := w.try(ctx, p, at)
	if v.away && w.cfg.strict() && ctx.Err() == nil {
		return verdict{err: stage.Bad(v.err), taken: true}
	}
	return v
}

// try makes one request and judges its answer.
func (w *writer) try(ctx context.Context, p *payload, at part) verdict {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	case <-ctx.Done():
		return verdict{err: ctx.Err(), away: true}
	}
	if err := ctx.Err(); err != nil {
		return verdict{err: err, away: true}
	}
	attempt, cancel := context.WithTimeout(ctx, w.cfg.Timeout.Std())
	defer cancel()
	start := time.Now()
	answer, err := w.client.Do(w.request(attempt, p, at))
	if err != nil {
		w.metrics.saw(0, time.Since(start))
		return verdict{err: w.explain(ctx, attempt, err), away: true}
	}
	text, err := read(answer.Body)
	w.metrics.saw(answer.StatusCode, time.Since(start))
	if err != nil {
		return verdict{err: w.explain(ctx, attempt, fmt.Errorf("reading the answer: %w", err)), away: true}
	}
	return w.judge(answer, text, at.events)
}

func (w *writer) request(ctx context.Context, p *payload, at part) *http.Request {
	r := &http.Request{
		Method: w.cfg.Method, URL: w.address, Host: w.host, Header: w.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: p.body(at), ContentLength: int64(at.to - at.from),
		GetBody: func() (io.ReadCloser, error) { return p.body(at), nil },
	}
	if at.id != "" {
		r.Header.Set("Idempotency-Key", at.id)
	}
	if at.trace != "" {
		r.Header.Set("Traceparent", at.trace)
	}
	return r.WithContext(ctx)
}

// explain says why there is no answer, in words without the query of the URL.
func (w *writer) explain(ctx, attempt context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if attempt.Err() != nil {
		return fmt.Errorf("%s: no answer within timeout %v", w.place, w.cfg.Timeout)
	}
	err = fmt.Errorf("%s: %w", w.place, err)
	if errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) {
		return stage.Fatal(fmt.Errorf("%w; set tls.ca to the authority that signed it", err))
	}
	return err
}

// maxAnswer bounds what is read of an answer: room for a reason for each event
// of a large batch.
const maxAnswer = 1 << 20

// read reads an answer up to the bound. One that was read to its end lets the
// connection be used again.
func read(from io.ReadCloser) ([]byte, error) {
	defer from.Close()
	return io.ReadAll(io.LimitReader(from, maxAnswer))
}

// Close lets go of the connections.
func (w *writer) Close(context.Context) error {
	w.closeIdle()
	return nil
}
