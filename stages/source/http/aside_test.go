package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/engine/stage"
)

// asideSoon makes connections be set aside after a moment.
func asideSoon(t *testing.T) {
	was := asideAfter
	asideAfter = 20 * time.Millisecond
	t.Cleanup(func() { asideAfter = was }) // after the sources are closed
}

// wire is a connection that a test holds in its own hands.
type wire struct {
	*bench
	net.Conn
	in *bufio.Reader
}

func (b *bench) dial() *wire {
	b.Helper()
	c, err := net.Dial("tcp", b.src.listener.address())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return &wire{b, c, bufio.NewReader(c)}
}

func (w *wire) send(text string) {
	w.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.Fatal(err)
	}
}

// accepted reads an answer, which must be a good one.
func (w *wire) accepted() {
	w.Helper()
	a, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.Fatal(err)
	}
	text, err := io.ReadAll(a.Body)
	if a.StatusCode != 202 || err != nil {
		w.Fatalf("%s %s %v", a.Status, text, err)
	}
}

func helloRequest() string {
	return fmt.Sprintf("POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello)
}

func TestAConnectionThatWasSilentForLongIsServedAgain(t *testing.T) {
	asideSoon(t)
	b := start(t, nil)
	keeper := b.src.listener.keeper
	w := b.dial()
	for round := range 3 {
		w.send(helloRequest())
		w.accepted()
		b.until("it is set aside", func() bool { return keeper.count() == 1 })
		if n := keeper.open.Load(); n != 1 {
			t.Errorf("round %d: %d connections are open", round, n)
		}
	}
	w.send("P") // alone, and the rest when the server has it again
	b.until("it is no longer set aside", func() bool { return keeper.count() == 0 })
	w.send(helloRequest()[1:])
	w.accepted()
	b.until("it is set aside", func() bool { return keeper.count() == 1 })
	w.send(helloRequest() + helloRequest() + helloRequest()) // without waiting for answers
	for range 3 {
		w.accepted()
	}
	if n := len(b.got()); n != 7 {
		t.Errorf("%d events came", n)
	}
	b.until("it is set aside", func() bool { return keeper.count() == 1 })
	_ = w.Close()
	b.until("it is not counted any more", func() bool { return keeper.open.Load() == 0 })
}

func TestAConnectionThatIsSetAsideIsClosedAfterItsIdleTimeout(t *testing.T) {
	asideSoon(t)
	b := start(t, func(c *Config) { c.IdleTimeout = stage.Duration(200 * time.Millisecond) })
	w := b.dial()
	w.send(helloRequest())
	w.accepted()
	if _, err := w.in.ReadByte(); err != io.EOF {
		t.Errorf("want it closed, got %v", err)
	}
	b.until("it is not counted any more", func() bool { return b.src.listener.keeper.open.Load() == 0 })
}

func TestConnectionsThatAreSetAsideCount(t *testing.T) {
	asideSoon(t)
	b := start(t, func(c *Config) { c.MaxConnections = 2 })
	for range 2 {
		w := b.dial()
		w.send(helloRequest())
		w.accepted()
	}
	b.until("they are set aside", func() bool { return b.src.listener.keeper.count() == 2 })
	if _, err := b.dial().in.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a third connection stays open: %v", err)
	}
}

func TestAClosedSourceClosesTheConnectionsThatAreSetAside(t *testing.T) {
	asideSoon(t)
	b := start(t, nil)
	var wires []*wire
	for range 20 {
		w := b.dial()
		w.send(helloRequest())
		w.accepted()
		wires = append(wires, w)
	}
	b.until("they are set aside", func() bool { return b.src.listener.keeper.count() == 20 })
	b.close()
	for _, w := range wires {
		if _, err := w.in.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("it is still open: %v", err)
		}
	}
	if n := b.src.listener.keeper.open.Load(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}

// Half a request is not silence: what follows it is not read as a request of
// its own, and the time for a header holds for it.
func TestAConnectionWithHalfARequestIsNotSetAside(t *testing.T) {
	const half = "POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Comment: a\r\n"
	for name, say := range map[string]func(*wire){
		"after an answer": func(w *wire) {
			w.send(helloRequest())
			w.accepted()
			w.send(half)
		},
		"with the request before it": func(w *wire) {
			w.send(helloRequest() + half)
			w.accepted()
		},
		"after it was set aside": func(w *wire) {
			w.send(helloRequest())
			w.accepted()
			keeper := w.bench.src.listener.keeper
			w.until("it is set aside", func() bool { return keeper.count() == 1 })
			w.send(half)
			w.until("it is no longer set aside", func() bool { return keeper.count() == 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			asideSoon(t)
			b := start(t, func(c *Config) { c.ReadTimeout = stage.Duration(time.Second) })
			keeper := b.src.listener.keeper
			w := b.dial()
			say(w)
			b.until("it is closed", func() bool { return keeper.open.Load() == 0 })
			if n := len(b.got()); n != 1 {
				t.Errorf("%d events came", n)
			}
		})
	}
}

// While connections come and go between the server and its keeper, none is
// lost and no answer is another's.
func TestManyConnectionsThatPauseAreAllServed(t *testing.T) {
	asideSoon(t)
	asideAfter = time.Millisecond
	b := start(t, nil)
	done := make(chan bool)
	for range 10 {
		w := b.dial()
		go func() {
			defer func() { done <- true }()
			for i := range 20 {
				if _, err := io.WriteString(w, helloRequest()); err != nil {
					t.Error(err)
					return
				}
				a, err := http.ReadResponse(w.in, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, a.Body); a.StatusCode != 202 || err != nil {
					t.Error(a.Status, err)
				}
				_ = stage.SystemClock.Sleep(t.Context(), time.Duration(i%4)*time.Millisecond) // about as long as it takes: any order will do
			}
		}()
	}
	for range 10 {
		<-done
	}
	if n := len(b.got()); n != 200 {
		t.Errorf("%d events came", n)
	}
}
