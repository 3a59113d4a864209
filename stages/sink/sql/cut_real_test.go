//go:build real

package sql

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// cutter is a TCP proxy in front of Postgres that can break connections.
type cutter struct {
	net.Listener
	server string
	// toServer counts down the bytes that still pass from client to server
	// before both sides are cut; negative: no bound.
	toServer atomic.Int64
	// swallow: the server's answers do not reach the client, which is cut
	// when the first one is there.
	swallow atomic.Bool
	running sync.WaitGroup
}

func newCutter(t *testing.T, p *place) *cutter {
	t.Helper()
	u, err := url.Parse(p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: listener, server: u.Host}
	c.toServer.Store(-1)
	c.running.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.running.Wait()
	})
	u.Host = listener.Addr().String()
	p.dsn = u.String()
	return c
}

func (c *cutter) accept() {
	for {
		client, err := c.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		cut := func() { _ = client.Close(); _ = server.Close() }
		c.running.Go(func() { defer cut(); c.forward(server, client) })
		c.running.Go(func() { defer cut(); c.answer(client, server) })
	}
}

func (c *cutter) forward(server io.Writer, client io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := client.Read(buf)
		if left := c.toServer.Load(); left >= 0 {
			n = int(min(int64(n), left))
			c.toServer.Add(int64(-n))
			if int64(n) == left {
				_, _ = server.Write(buf[:n])
				return
			}
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (c *cutter) answer(client io.Writer, server io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		if c.swallow.Load() {
			return
		}
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// However far a batch got, a cut leaves all of it or nothing, is weather, and
// the next attempt makes it whole.
func TestCutConnectionDuringWrite(t *testing.T) {
	for _, conflict := range []string{conflictIgnore, conflictUpdate} {
		p := postgresPlace(t)
		cut := newCutter(t, p)
		c := p.config(func(c *Config) {
			p.withAttributes(c)
			c.Conflict = conflict
		})
		w := p.open(t, c)
		write(t, w, some(1)...)
		rows := 1
		for _, after := range []int64{0, 1, 100, 5000, 40000, 90000} {
			b := event.NewBatch(some(500))
			cut.toServer.Store(after)
			err := w.Write(t.Context(), b)
			cut.toServer.Store(-1)
			wantClass(t, err, stage.Retryable)
			if got := p.rows(t, c.Table); got != rows {
				t.Fatalf("%s: cut after %d bytes: %d rows were left behind (%v)", conflict, after, got-rows, err)
			}
			for attempt := 0; ; attempt++ {
				if err = w.Write(t.Context(), b); err == nil {
					break
				}
				wantClass(t, err, stage.Retryable)
				if attempt == 4 { // one attempt for each connection of the pool
					t.Fatalf("%s: still failing: %v", conflict, err)
				}
			}
			rows += 500
			if p.rows(t, c.Table) != rows || p.rows(t, c.AttributesTable) != 4*rows {
				t.Fatalf("%s: want %d rows and 4 attributes each, got %d and %d", conflict, rows, p.rows(t, c.Table), p.rows(t, c.AttributesTable))
			}
		}
	}
}

// The server commits, and its answer is lost.
func TestLostAnswerIsWeatherAndHarmless(t *testing.T) {
	p := postgresPlace(t)
	cut := newCutter(t, p)
	c := p.config(p.withAttributes)
	w := p.open(t, c)
	write(t, w, some(1)...)
	b := event.NewBatch(some(200))
	cut.swallow.Store(true)
	wantClass(t, w.Write(t.Context(), b), stage.Retryable)
	cut.swallow.Store(false)
	for attempt := 0; ; attempt++ {
		err := w.Write(t.Context(), b)
		if err == nil {
			break
		}
		wantClass(t, err, stage.Retryable)
		if attempt == 4 {
			t.Fatalf("still failing: %v", err)
		}
	}
	if p.rows(t, c.Table) != 201 || p.rows(t, c.AttributesTable) != 804 {
		t.Errorf("want 201 rows and 804 attributes, got %d and %d", p.rows(t, c.Table), p.rows(t, c.AttributesTable))
	}
}
