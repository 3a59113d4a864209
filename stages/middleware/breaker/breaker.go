// Package breaker stops calling a dependency that is down, and finds out when
// it is back.
//
// It is Resilience4j's circuit breaker, where a call is one attempt to deliver
// a batch. Closed, it lets all calls through and counts the results in a
// window. When too many failed or were slow it opens: no call goes through for
// a while. Then it is half-open: a few trial calls decide whether it closes or
// opens again.
//
//	          a threshold is reached
//	closed ─────────────────────────────▶ open ◀──┐
//	   ▲                                    │     │ the trials failed
//	   │ the trials went well               ▼     │
//	   └──────────────────────────────── half_open┘
//	                               after open_for
//
// A batch that finds it open waits, so that an outage becomes backpressure
// rather than errors; on_open: reject tells the source no instead, and divert
// delivers to another sink meanwhile. Put the breaker inside of retry: a waiting
// batch spends no attempt.
//
// Routes that use the same dependency can share a breaker. It is a resource
// then, and each route names it:
//
//	resources: {orders-db: {kind: breaker, failure_rate: 50%, window: 10s}}
//	routes: {orders: {…, middleware: [{breaker: {resource: orders-db}}], …}}
//
// Each change of state is a line in the log and, where one is asked for, a
// call of a webhook. A running breaker is shown and changed over HTTP on the
// pipeline's address:
//
//	GET  /api/v1/breakers/<route>/<name>                state, rates, counts, since when
//	POST /api/v1/breakers/<route>/<name>/open           open for its usual time, then trials
//	POST /api/v1/breakers/<route>/<name>/forced_open    open until told otherwise
//	POST /api/v1/breakers/<route>/<name>/close          closed, with an empty window
//	POST /api/v1/breakers/<route>/<name>/disable        let all pass, count nothing
//	POST /api/v1/breakers/<route>/<name>/metrics_only   let all pass, only count
//	POST /api/v1/breakers/<route>/<name>/reset          closed, whatever it was
//
// A POST answers with what GET would show afterwards; 409 says that it cannot
// go there from where it is (from metrics_only to open), 404 that there is no
// such command. <name> is the stage's in the route. /api/v1/routes lists the
// breakers of all routes with their state, and their path as "path". On the
// command line these are `engine breaker ls`, and `engine breaker open |
// forced-open | close | disable | metrics-only | reset <route>/<name>`.
package breaker

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "breaker", Kind: stage.KindMiddleware, Files: files, New: func() any { return defaults() }}

// Open makes a closed breaker, or finds the one to share.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	b := &breaker{onOpen: c.OnOpen.does(), about: circuit.About{Route: s.Route, Name: s.Name}}
	if b.onOpen == onOpenDivert {
		b.divert = s.Outlet(c.OnOpen.Divert)
	}
	var err error
	if c.Resource != "" {
		b.about.Resource = string(c.Resource)
		b.circuit, err = stage.Use[*circuit.Breaker](s, c.Resource)
	} else {
		b.circuit, err = circuit.New(*c.rules(), s)
	}
	if err != nil {
		return nil, err
	}
	b.path = "/api/v1/breakers/" + s.Route + "/" + s.Name
	if err := s.Mount(b.path+"/", b.circuit.Control(b.path, b.about)); err != nil {
		return nil, errors.Join(fmt.Errorf("breaker %q: %w", s.Name, err), b.Close(context.Background()))
	}
	return b, nil
}

type breaker struct {
	circuit *circuit.Breaker
	onOpen  string
	divert  message.HandlerFunc // where batches go that find it open; nil: nowhere
	about   circuit.About
	path    string
}

// Wrap puts the breaker before next.
func (b *breaker) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, b.handle(msg, next)
	}
}

// Close closes a breaker of the route's own.
func (b *breaker) Close(context.Context) error {
	if b.about.Resource != "" {
		return nil
	}
	return b.circuit.Close()
}

func (b *breaker) handle(msg *message.Message, next message.HandlerFunc) error {
	batch := stage.BatchOf(msg)
	if batch.Count(event.Open) == 0 {
		_, err := next(msg) // nothing to deliver: no trial of the dependency
		return err
	}
	p, err := b.circuit.Enter(msg.Context(), b.onOpen == onOpenWait && stage.MayWait(msg.Context()))
	if err != nil && b.divert != nil && msg.Context().Err() == nil {
		_, err = b.divert(msg)
		return err
	}
	if err != nil {
		return b.refuse(msg.Context(), batch, err)
	}
	result := circuit.Ignored // a panic tells of a bug here, not of an outage there
	defer func() { b.circuit.Leave(p, result) }()
	_, err = next(msg)
	result = b.circuit.Judge(msg.Context(), err)
	return err
}

// refuse says no to a batch that was not let through.
func (b *breaker) refuse(ctx context.Context, batch *event.Batch, why error) error {
	if b.onOpen != onOpenReject || ctx.Err() != nil {
		return why
	}
	batch.FailOpen(why) // the source can tell its client when to come back
	batch.SettleOpen(event.Rejected)
	return stage.Result(batch, nil)
}

// Status shows the state, the rates in percent (-1: too few calls), how many
// batches wait or were not let through at once, the calls in the window, and
// where the control API is.
func (b *breaker) Status() map[string]any {
	s := b.circuit.Look()
	status := map[string]any{
		"state":          s.State.String(),
		"failure_rate":   float64(s.FailureRate),
		"slow_call_rate": float64(s.SlowCallRate),
		"not_permitted":  s.NotPermitted,
		"buffered_calls": s.BufferedCalls,
		"waiting":        s.Waiting,
		"path":           b.path,
	}
	if b.about.Resource != "" {
		status["resource"] = b.about.Resource
	}
	return status
}
