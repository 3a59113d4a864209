// Package http takes events over HTTP: single ones, JSON arrays, NDJSON, plain
// lines, gzip or not.
//
// A request is one parcel. It shares its batches with the requests of others,
// and gets its own answer when its own events are settled (ack: delivered),
// when they are stored in the route's spool (ack: spooled), or, where that was
// asked for, when they were understood (ack: received). Events that are no
// events are left out before that, and named in the answer; they never become
// part of the pipeline. An answer that says yes is only given for events that
// are where it says they are: whatever else became of them is a 429 or 503
// with Retry-After, and the request may be sent again. Events that come with
// an id, or a request with an Idempotency-Key, keep their ids then.
//
//	reader.go    the source as the engine sees it: Read, Close, Status
//	serve.go     paths, methods, CORS
//	post.go      one request from its first to its last byte
//	body.go      reading a body within its bounds; decode.go: events from it
//	answer.go    what is answered; form.go: in whose words
//	request.go   a request's memory, which is used again; budget.go bounds it
//	listener.go  addresses of our own, shared by sources; tls.go: certificates
//	aside.go     connections on which nobody says anything
//	client.go    from where a request comes; stages/internal/access: who may send
package http

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "http", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{
		Paths: []string{"/api/logs"}, Methods: []string{"POST"}, Format: formatAuto, Respond: respondDay32,
		Ack: ackDelivered, AckTimeout: stage.Duration(10 * time.Second),
		MaxBody: 10 << 20, MaxEvents: 10_000, Buffer: 64 << 20, BufferWait: stage.Duration(time.Second),
		ReadTimeout: stage.Duration(30 * time.Second), IdleTimeout: stage.Duration(2 * time.Minute),
		MaxHeader: 16 << 10, MaxConnections: 20_000,
		Proxies: Proxies{Header: headerXForwardedFor},
		CORS:    CORS{MaxAge: stage.Duration(10 * time.Minute)},
	}
}}

// Open begins to listen. Requests are answered 503 until the first Read.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Reader, error) {
	var p stage.Problems
	c.Validate(&p)
	for _, found := range p.Found {
		if !found.Warning {
			return nil, stage.Fatal(fmt.Errorf("%s: %s", found.Key, found.Text))
		}
	}
	src, err := newSource(c, s)
	if err != nil {
		return nil, err
	}
	if err := src.metrics.register(s.Metrics); err != nil {
		return nil, stage.Fatal(fmt.Errorf("registering metrics: %w", err))
	}
	if err := src.listen(s); err != nil {
		src.metrics.unregister(s.Metrics)
		return nil, err
	}
	return src, nil
}

// listen makes the paths known, on an address of its own or the pipeline's.
func (s *source) listen(settings stage.Settings) error {
	if s.cfg.Listen != "" {
		l, err := share(s.cfg, settings, s.routes())
		s.listener = l
		if errors.Is(err, errTaken) {
			return stage.Fatal(err)
		}
		return err
	}
	for path, handler := range s.routes() {
		if err := settings.Mount(path, handler); err != nil {
			return stage.Fatal(fmt.Errorf("serving %s: %w", path, err))
		}
	}
	return nil
}
