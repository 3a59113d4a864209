// Package proxy stands between an engine and a service it depends on, and
// takes the network between them away in the ways networks fail: connections
// are reset or refused, bytes stop flowing without a word, or come late.
//
//	p, err := proxy.Listen("127.0.0.1:5432")
//	… the engine connects to p.Addr() …
//	p.Set(proxy.BlackHole)
//	p.Set(proxy.Pass)
//
// It knows no protocol: it moves bytes, in order, or it does not.
package proxy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Mode is what the network does.
type Mode struct {
	name            string
	latency, jitter time.Duration
}

// The modes without settings.
var (
	Pass      = Mode{name: "pass"}       // bytes flow
	Cut       = Mode{name: "cut"}        // connections are reset, new ones as soon as they are made
	BlackHole = Mode{name: "black hole"} // connections stay, new ones are accepted, and nothing flows
	Refuse    = Mode{name: "refuse"}     // connections are reset, new ones are refused
)

// Slow lets bytes flow, each piece after latency and up to jitter more.
func Slow(latency, jitter time.Duration) Mode { return Mode{"slow", latency, jitter} }

// String is the mode in a sentence about a fault.
func (m Mode) String() string {
	if m.latency+m.jitter == 0 {
		return m.name
	}
	return fmt.Sprintf("%s by %v to %v", m.name, m.latency, m.latency+m.jitter)
}

// chunk and queue bound what a direction of a connection holds: 1 MiB, as the
// buffers of a network do.
const (
	chunk = 32 << 10
	queue = 32
)

// Proxy forwards connections to one address. Its methods may be called from any
// goroutine.
type Proxy struct {
	addr, target string

	mu       sync.Mutex
	mode     Mode
	changed  chan struct{} // closed when mode does
	listener net.Listener  // nil while connections are refused
	links    map[*link]struct{}
	closed   bool

	work sync.WaitGroup
}

// Listen forwards what connects to a port of its own. The port is below those
// that the system gives to outgoing connections, so that Refuse can give it up
// and get it back.
func Listen(target string) (*Proxy, error) {
	p := &Proxy{target: target, mode: Pass, changed: make(chan struct{}), links: map[*link]struct{}{}}
	for range 100 {
		p.addr = fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		l, err := net.Listen("tcp", p.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.accept(l)
		return p, nil
	}
	return nil, errors.New("no free port between 20000 and 32000")
}

// Addr is the address to connect to, host:port.
func (p *Proxy) Addr() string { return p.addr }

// Set changes what the network does from now on. The error says that the port
// could not be had again after Refuse.
func (p *Proxy) Set(m Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	if m == Cut || m == Refuse {
		for l := range p.links {
			l.reset()
		}
	}
	if m == Refuse && p.listener != nil {
		err := p.listener.Close()
		p.listener = nil
		return err
	}
	if m != Refuse && p.listener == nil {
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			return err
		}
		p.accept(l)
	}
	return nil
}

// Close resets all connections and waits until nothing of the proxy is left.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	close(p.changed)
	p.changed = make(chan struct{})
	if p.listener != nil {
		_ = p.listener.Close()
	}
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// accept takes the connections of a listener; p.mu is held, or nobody knows p.
func (p *Proxy) accept(l net.Listener) {
	p.listener = l
	p.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(conn.(*net.TCPConn)) })
		}
	})
}

// serve connects one client to the target for as long as both want.
func (p *Proxy) serve(client *net.TCPConn) {
	l := &link{client: client, gone: make(chan struct{})}
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	if p.pass(l) != nil { // a connection made in a black hole reaches nobody
		return
	}
	conn, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		l.reset()
		return
	}
	if !l.join(conn.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.move(l, l.target, l.client) })
	both.Go(func() { p.move(l, l.client, l.target) })
	both.Wait()
}

// add notes a link, or resets it where the mode says so.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Cut || p.mode == Refuse {
		l.reset()
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	l.close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pass waits until bytes may flow; an error says that they never will.
func (p *Proxy) pass(l *link) error {
	for {
		p.mu.Lock()
		mode, changed, closed := p.mode, p.changed, p.closed
		p.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		if mode != BlackHole {
			return nil
		}
		select {
		case <-changed:
		case <-l.gone:
			return net.ErrClosed
		}
	}
}

// delay is how late a piece that arrives now is.
func (p *Proxy) delay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.mode.latency
	if p.mode.jitter > 0 {
		d += rand.N(p.mode.jitter)
	}
	return d
}
