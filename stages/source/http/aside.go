package http

import (
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// An HTTP server keeps 20 KiB for each connection, whether anybody says
// anything on it or not: buffers, and the stack of a goroutine that has been
// through a request. So a connection that is idle for a while is taken from the
// server and set aside, where a goroutine with next to no stack waits for its
// next byte. When that comes, it is a connection like a new one to the server.
// Its client notices nothing.
//
// How the server is made to let go: it has an idle timeout of asideAfter, and
// closes a connection then. That Close does not reach the socket if the server
// was between two requests and has nothing of the next one.

// asideAfter is how long a connection is idle before it is set aside.
var asideAfter = 5 * time.Second

// serverBuffer is what the server reads into. A read of less has something of
// a request before it.
const serverBuffer = 4 << 10

// conn is a connection as the server has it.
type conn struct {
	*net.TCPConn
	keeper *keeper
	phase  atomic.Int32
	first  []byte // read while it was set aside
}

// The phases of a conn.
const (
	phaseBusy   int32 = iota
	phaseIdle         // between two requests
	phaseAwaits       // and the server waits for the next, within its idle timeout
	phaseQuiet        // and for long enough
	phaseGone         // closed, or set aside
)

// Read is called by one goroutine at a time.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	n, err := c.TCPConn.Read(p)
	if err != nil && n == 0 && len(p) >= serverBuffer && errors.Is(err, os.ErrDeadlineExceeded) {
		c.phase.CompareAndSwap(phaseAwaits, phaseQuiet)
	}
	return n, err
}

// SetReadDeadline is called by the server twice between two requests: for the
// time that the next may take to begin, and, when it has begun, for its header.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.phase.CompareAndSwap(phaseAwaits, phaseBusy) {
		c.phase.CompareAndSwap(phaseIdle, phaseAwaits)
	}
	return c.TCPConn.SetReadDeadline(t)
}

// Close sets the connection aside or closes it.
func (c *conn) Close() error {
	switch c.phase.Swap(phaseGone) {
	case phaseGone:
		return net.ErrClosed
	case phaseQuiet:
		c.keeper.keep(c.TCPConn)
		return nil
	default:
		return c.keeper.drop(c.TCPConn)
	}
}

// door lets connections in, as many as there may be.
type door struct {
	*net.TCPListener
	keeper *keeper
}

// Accept is called by the server.
func (d door) Accept() (net.Conn, error) {
	for {
		c, err := d.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if d.keeper.open.Add(1) <= int64(d.keeper.most) {
			return &conn{TCPConn: c, keeper: d.keeper}, nil
		}
		_ = d.keeper.drop(c) // nothing was promised to it
	}
}

// keeper has the connections that are set aside. It is a listener that they
// come back from.
type keeper struct {
	most int           // connections
	idle time.Duration // how long they may be, after they were set aside
	addr net.Addr
	open atomic.Int64 // all, set aside or not
	back chan *conn

	ended   chan struct{}
	waiting sync.WaitGroup
	mu      sync.Mutex
	aside   map[*net.TCPConn]struct{}
	closed  bool
	fresh   int       // set aside since memory was given back
	freed   time.Time // when that was
	freeing bool      // soon
}

func newKeeper(addr net.Addr, most int, idle time.Duration) *keeper {
	return &keeper{most: most, idle: idle, addr: addr, back: make(chan *conn), ended: make(chan struct{}), aside: map[*net.TCPConn]struct{}{}}
}

// watch is told by the server of its connections, by their own goroutines.
func (k *keeper) watch(c net.Conn, state http.ConnState) {
	ours, ok := c.(*conn)
	switch {
	case !ok: // TLS, whose state is the server's
	case state == http.StateIdle:
		ours.phase.CompareAndSwap(phaseBusy, phaseIdle)
	case state == http.StateActive:
		if !ours.phase.CompareAndSwap(phaseIdle, phaseBusy) {
			ours.phase.CompareAndSwap(phaseAwaits, phaseBusy)
		}
	}
}

func (k *keeper) drop(c *net.TCPConn) error {
	k.open.Add(-1)
	return c.Close()
}

// keep sets a connection aside.
func (k *keeper) keep(c *net.TCPConn) {
	_ = c.SetReadDeadline(time.Now().Add(k.idle)) // one that is closed has no next byte
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		_ = k.drop(c) // it waits for nothing
		return
	}
	k.aside[c] = struct{}{}
	k.waiting.Add(1)
	go k.wait(c)
	k.giveBack()
}

// Many connections that fall silent leave nobody behind who allocates memory,
// and so nobody who has what they had collected: the runtime by itself does so
// only after two minutes.
const (
	freeAfter = 1000             // connections set aside
	freeEvery = 30 * time.Second // at most
	freeDelay = 2 * time.Second  // until others that went silent with them are set aside, too
)

// giveBack gives memory back to the operating system after many connections
// were set aside. Called with mu held.
func (k *keeper) giveBack() {
	if k.fresh++; k.fresh < freeAfter || k.freeing {
		return
	}
	k.freeing = true
	delay := max(freeDelay, freeEvery-time.Since(k.freed))
	k.waiting.Go(func() {
		due := time.NewTimer(delay)
		defer due.Stop()
		select {
		case <-due.C:
			debug.FreeOSMemory()
		case <-k.ended:
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.fresh, k.freed, k.freeing = 0, time.Now(), false
	})
}

// wait waits for the first byte of a request.
func (k *keeper) wait(c *net.TCPConn) {
	defer k.waiting.Done()
	first := make([]byte, 1)
	n, _ := c.Read(first) // whatever is wrong: it is over
	k.mu.Lock()
	delete(k.aside, c)
	k.mu.Unlock()
	if n > 0 && c.SetReadDeadline(time.Time{}) == nil {
		select {
		case k.back <- &conn{TCPConn: c, keeper: k, first: first}:
			return
		case <-k.ended:
		}
	}
	_ = k.drop(c) // its client is gone or said nothing for too long
}

// Accept hands out connections on which something is said again.
func (k *keeper) Accept() (net.Conn, error) {
	select {
	case c := <-k.back:
		return c, nil
	case <-k.ended:
		return nil, net.ErrClosed
	}
}

// Close closes what is set aside.
func (k *keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return net.ErrClosed
	}
	k.closed = true
	close(k.ended)
	for c := range k.aside {
		_ = c.Close() // wait drops it
	}
	return nil
}

// Addr is that of the socket.
func (k *keeper) Addr() net.Addr { return k.addr }

// count is how many are set aside.
func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.aside)
}
