// Package breaker stops calling a dependency that is down, and finds out when
// it is back.
//
// It is Resilience4j's circuit breaker, where a call is one attempt to deliver
// a batch. Closed, it lets all calls through and counts the results in a
// window. When too many failed or were slow it opens: no call goes through for
// a while. Then it is half-open: a few trial calls decide whether it closes or
// opens again.
//
//	          too many failed or slow
//	closed ─────────────────────────────▶ open ◀──┐
//	   ▲                                    │     │ too many
//	   │ trials went well                   ▼     │
//	   └──────────────────────────────── half-open┘
//	                                after open_for
//
// A batch that finds it open waits, so that an outage becomes backpressure
// rather than errors. Put it inside of retry: a waiting batch spends no
// attempt. machine.go is the state machine, plain and clock-free; gate.go
// shares one between the batches of a route.
package breaker

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "breaker", Kind: stage.KindMiddleware, Files: files, New: func() any { return defaults() }}

// Open makes a closed breaker.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	b := &breaker{wait: c.OnOpen == onOpenWait}
	b.gate = newGate(s.Clock, c.rules(), c.Automatic, reporter(s, c))
	if err := s.Metrics.Register(newCollector(s.Name, b.gate)); err != nil {
		b.gate.close()
		return nil, fmt.Errorf("breaker %q: %w", s.Name, err)
	}
	return b, nil
}

type breaker struct {
	gate *gate
	wait bool
}

// Wrap puts the breaker before next.
func (b *breaker) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, b.handle(msg, next)
	}
}

// Close ends the breaker's timer, if it has one.
func (b *breaker) Close(context.Context) error {
	b.gate.close()
	return nil
}

func (b *breaker) handle(msg *message.Message, next message.HandlerFunc) error {
	if stage.BatchOf(msg).Count(event.Open) == 0 {
		_, err := next(msg) // nothing to deliver: no trial of the dependency
		return err
	}
	p, err := b.gate.enter(msg.Context(), b.wait)
	if err != nil {
		return err
	}
	result := ignored // a panic tells of a bug here, not of an outage there
	defer func() { b.gate.leave(p, result) }()
	_, err = next(msg)
	result = judge(msg.Context(), err)
	return err
}

// judge says what an attempt's error tells about the dependency.
func judge(ctx context.Context, err error) kind {
	if err == nil {
		return successful
	}
	switch stage.ClassOf(err) {
	case stage.BadEvent:
		return successful
	case stage.Stopped:
		return ignored
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ignored // clients have many words for being told to stop
	}
	return failed
}

// Status shows the state, the failure rate in percent (-1: too few calls), how
// many batches were not let through at once, and the calls in the window.
func (b *breaker) Status() map[string]any {
	s := b.gate.look()
	return map[string]any{
		"state":          s.state.String(),
		"failure_rate":   float64(s.failureRate),
		"not_permitted":  s.counts.notPermitted,
		"buffered_calls": s.totals.calls,
	}
}

// reporter logs what happens to a breaker: one line per change of state.
func reporter(s stage.Settings, c *Config) func(notice) {
	log := s.Log.With("breaker", s.Name)
	return func(n notice) {
		rates := slog.Group("", "failure_rate", n.failureRate, "slow_call_rate", n.slowRate, "calls", n.calls)
		switch {
		case n.kind == changed && n.to == opened:
			log.Warn("breaker is open", "was", n.from.String(), "open_for", c.OpenFor.String(), rates)
		case n.kind == changed && n.to == forcedOpen:
			log.Warn("breaker is open until told otherwise", "was", n.from.String())
		case n.kind == changed:
			log.Info("breaker is "+n.to.String(), "was", n.from.String(), rates)
		case n.from == metricsOnly && n.kind == failureRateExceeded:
			log.Warn("breaker would open: too many calls failed", rates)
		case n.from == metricsOnly:
			log.Warn("breaker would open: too many calls were slow", rates)
		}
	}
}
