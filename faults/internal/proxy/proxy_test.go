package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// echo is a service that answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func listen(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func set(t *testing.T, p *Proxy, m Mode) {
	t.Helper()
	if err := p.Set(m); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func say(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil || strings.TrimSpace(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// broken wants a connection to end without a word.
func broken(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want the end of the connection", n, err)
	}
}

// brokenFrom wants the same of a connection that is being made.
func brokenFrom(t *testing.T, p *Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	broken(t, conn)
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func TestBytesPassUnchanged(t *testing.T) {
	conn := dial(t, listen(t, echo(t)))
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(sent))
	}
}

func TestACutEndsConnectionsAndTheNextOnesToo(t *testing.T) {
	p := listen(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	hear(t, conn, "before")
	set(t, p, Cut)
	broken(t, conn)
	brokenFrom(t, p)
	set(t, p, Pass)
	conn = dial(t, p)
	say(t, conn, "after")
	hear(t, conn, "after")
}

func TestARefusedConnectionIsNotMade(t *testing.T) {
	p := listen(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	hear(t, conn, "before")
	set(t, p, Refuse)
	broken(t, conn)
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Error("a connection was made")
	}
	set(t, p, Pass)
	conn = dial(t, p)
	say(t, conn, "after")
	hear(t, conn, "after")
}

func TestABlackHoleKeepsConnectionsAndSwallowsUntilItEnds(t *testing.T) {
	p := listen(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	hear(t, conn, "before")
	set(t, p, BlackHole)
	say(t, conn, "during")
	fresh := dial(t, p)
	say(t, fresh, "fresh")
	for _, c := range []net.Conn{conn, fresh} {
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); !isTimeout(err) {
			t.Fatalf("read %d bytes, %v; want silence", n, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	}
	set(t, p, Pass)
	hear(t, conn, "during")
	hear(t, fresh, "fresh")
}

func TestSlowBytesComeLateAndInOrder(t *testing.T) {
	p := listen(t, echo(t))
	conn := dial(t, p)
	const latency = 50 * time.Millisecond
	set(t, p, Slow(latency, latency))
	began := time.Now()
	go func() {
		for i := range byte(26) {
			_, _ = conn.Write([]byte{'a' + i})
		}
		_, _ = conn.Write([]byte("\n"))
	}()
	hear(t, conn, "abcdefghijklmnopqrstuvwxyz")
	if took := time.Since(began); took < 2*latency {
		t.Errorf("there and back took %v, want at least %v", took, 2*latency)
	}
}

func TestATargetThatIsAwayEndsTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	_ = l.Close()
	brokenFrom(t, listen(t, target))
}

func TestCloseLeavesNothingBehindInABlackHole(t *testing.T) {
	p, err := Listen(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	set(t, p, BlackHole)
	conn := dial(t, p)
	say(t, conn, "never heard")
	p.Close()
	broken(t, conn)
	if p.Set(Pass) == nil {
		t.Error("a closed proxy takes a mode")
	}
}
