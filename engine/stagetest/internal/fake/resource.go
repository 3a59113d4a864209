package fake

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// ConnectionConfig is a connection to a list in memory. It has no keys.
type ConnectionConfig struct{ fault Fault }

// Connection is the opened resource.
type Connection struct {
	fault Fault

	mu   sync.Mutex
	away chan struct{} // closed when it is back; nil: it is there
	rows []event.Event
}

// away is shared by all connections that the faulty resource opens: it is what
// it would connect to.
var away sync.Map // of *ConnectionConfig: bool

var errRefused = errors.New("connection refused")

// Break makes what a Config connects to unreachable before it is opened.
func (c *ConnectionConfig) Break() (mend func()) {
	away.Store(c, true)
	return func() { away.Delete(c) }
}

// Open implements stage.Resource.
func (c *ConnectionConfig) Open(context.Context, stage.Settings) (io.Closer, error) {
	if _, broken := away.Load(c); broken && c.fault == ConnectsAtOnce {
		return nil, errRefused
	}
	return &Connection{fault: c.fault}, nil
}

// Break takes the list away until mend is called.
func (c *Connection) Break() (mend func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	back := make(chan struct{})
	c.away = back
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.away = nil
		close(back)
	})
}

// Rows is what was added.
func (c *Connection) Rows() []event.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.rows)
}

func (c *Connection) add(rows ...event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = append(c.rows, rows...)
}

func (c *Connection) has(e *event.Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.rows, func(row event.Event) bool { return row.ID == e.ID })
}

// reach waits a little for the list to be there.
func (c *Connection) reach(ctx context.Context) error {
	c.mu.Lock()
	back := c.away
	c.mu.Unlock()
	if back == nil {
		return nil
	}
	patience := time.NewTimer(10 * time.Millisecond)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return errRefused
	}
}

// gone waits for the list without looking at any context.
func (c *Connection) gone() {
	c.mu.Lock()
	back := c.away
	c.mu.Unlock()
	if back != nil {
		<-back
	}
}

// Probe implements stage.Prober.
func (c *Connection) Probe(ctx context.Context) error {
	if c.fault == HangsOnProbe {
		c.gone()
	}
	return c.reach(ctx)
}

// Status implements stage.Statuser.
func (c *Connection) Status() map[string]any {
	if c.fault == BadStatus {
		return map[string]any{"Rows": struct{ N int }{1}}
	}
	return map[string]any{"rows": len(c.Rows())}
}

// Close implements io.Closer.
func (c *Connection) Close() error { return nil }
