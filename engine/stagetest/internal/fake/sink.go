package fake

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// SinkConfig adds events to the list behind a connection.
type SinkConfig struct {
	// Resource is the connection. Default: the only one.
	Resource stage.Ref `yaml:"resource" resource:"fake"`
	// Labels are added to each event. Default: none.
	Labels map[string]string `yaml:"labels"`

	fault  Fault
	opened int
}

var sharedLabels = map[string]string{"site": "south"}

func newSink(f Fault) *SinkConfig {
	if f == SharesDefaults {
		return &SinkConfig{Labels: sharedLabels, fault: f}
	}
	return &SinkConfig{Labels: maps.Clone(sharedLabels), fault: f}
}

// Validate implements stage.Validator.
func (c *SinkConfig) Validate(*stage.Problems) {
	if c.fault == ValidateChanges {
		c.Labels["validated"] += "!"
	}
}

// Open implements stage.Sink.
func (c *SinkConfig) Open(ctx context.Context, s stage.Settings) (stage.Writer, error) {
	conn, err := stage.Use[*Connection](s, c.Resource)
	if err != nil {
		return nil, err
	}
	if c.opened++; c.opened > 1 && c.fault == OpensOnce {
		return nil, errors.New("the port is in use")
	}
	w := &writer{conn: conn, fault: c.fault, stop: make(chan struct{}), stopped: make(chan struct{})}
	go w.background()
	if ctx.Err() != nil && c.fault != LeaksOnFailedOpen {
		_ = w.Close(ctx)
	}
	return w, ctx.Err()
}

type writer struct {
	conn    *Connection
	fault   Fault
	stop    chan struct{}
	stopped chan struct{}
	closed  bool
	busy    atomic.Int32
	buffer  []byte
}

// background stands for the goroutines of a client.
func (w *writer) background() {
	defer close(w.stopped)
	<-w.stop
}

// Bad is the text of an event that the list does not take.
const Bad = "not for the list"

// Write implements stage.Writer.
func (w *writer) Write(ctx context.Context, b *event.Batch) error {
	if b.Count(event.Open) == 0 && w.fault == FailsOnEmpty {
		return errors.New("nothing to write")
	}
	if w.fault == SharesBuffer {
		w.buffer = append(w.buffer[:0], "insert"...)
	}
	if err := w.reach(ctx, b); err != nil {
		return err
	}
	events := b.Open()
	if w.fault == TouchesAll {
		events = b.All()
	}
	for row, e := range events {
		if err := w.one(b, row, e); err != nil {
			b.Refuse(row, err)
		}
	}
	if w.fault == SettlesItself {
		b.SettleOpen(event.Delivered)
	}
	return nil
}

// reach sees that the list is there.
func (w *writer) reach(ctx context.Context, b *event.Batch) error {
	if w.fault == IgnoresContext {
		w.conn.gone()
	}
	err := w.conn.reach(ctx)
	if err == nil && ctx.Err() != nil && w.fault != RefusesWhenStopped {
		err = ctx.Err()
	}
	switch {
	case w.fault == RefusesWhenStopped && ctx.Err() != nil:
		for row := range b.Open() {
			b.Refuse(row, ctx.Err())
		}
		return nil
	case err == nil:
		return nil
	case w.fault == ClaimsDelivery && errors.Is(err, errRefused):
		return nil
	case w.fault == BlamesEvents && errors.Is(err, errRefused):
		return stage.Bad(err)
	case w.fault == BlamesPerson && errors.Is(err, context.DeadlineExceeded):
		return stage.Fatal(err)
	}
	return err
}

func (w *writer) one(b *event.Batch, row int, e *event.Event) error {
	switch {
	case e.Message == Bad && w.fault == RefusesAll:
		for other := range b.Open() {
			b.Refuse(other, errors.New("a neighbour is bad"))
		}
		return nil
	case e.Message == Bad:
		return errors.New("not taken")
	case w.fault == FailsAgain && w.conn.has(e):
		b.Fail(row, errors.New("duplicate key"))
		return nil
	case w.fault == ReadsLater:
		go func() { w.busy.Add(int32(len(e.Message))) }()
	}
	own := *e
	if w.fault != KeepsMemory {
		own.Message = strings.Clone(e.Message)
	}
	w.conn.add(event.Event{ID: own.ID, Message: own.Message})
	return nil
}

// Close implements stage.Writer.
func (w *writer) Close(context.Context) error {
	if w.closed {
		if w.fault == PanicsOnClose {
			close(w.stop)
		}
		return nil
	}
	w.closed = true
	if w.fault == LeaksGoroutine {
		return nil
	}
	close(w.stop)
	<-w.stopped
	return nil
}
