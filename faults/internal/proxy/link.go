package proxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// link is a connection of a client and the one to the target that belongs to
// it.
type link struct {
	client *net.TCPConn
	gone   chan struct{} // closed by reset

	mu     sync.Mutex
	target *net.TCPConn // nil until it is made
	ended  bool
}

// join adds the connection to the target; false when the link has ended.
func (l *link) join(target *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = target.Close()
		return false
	}
	l.target = target
	return true
}

// reset ends both connections at once: what they still hold is lost.
func (l *link) reset() { l.end(true) }

// close ends both connections, which first deliver what they hold.
func (l *link) close() { l.end(false) }

func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.gone)
	for _, c := range []*net.TCPConn{l.client, l.target} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}

// piece is what was read at once, and when it may be written.
type piece struct {
	bytes []byte
	due   time.Time
}

// move carries one direction until its end. An end of file is passed on, so that
// the other direction may go on; any other end resets the link.
func (p *Proxy) move(l *link, to, from *net.TCPConn) {
	pieces := make(chan piece, queue)
	p.work.Go(func() {
		defer close(pieces)
		for {
			buf := make([]byte, chunk)
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case pieces <- piece{buf[:n], time.Now().Add(p.delay())}:
				case <-l.gone:
					return
				}
			}
			if err != nil {
				if err != io.EOF {
					l.reset()
				}
				return
			}
		}
	})
	for c := range pieces {
		if !l.until(c.due) || p.pass(l) != nil {
			break
		}
		if _, err := to.Write(c.bytes); err != nil {
			l.reset()
			break
		}
	}
	if p.pass(l) == nil {
		_ = to.CloseWrite()
	}
}

// until waits for a time; false when the link ended before.
func (l *link) until(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}
