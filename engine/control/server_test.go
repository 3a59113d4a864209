package control_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/control"
)

// hall is a listener in memory, so that the tests have the time to themselves.
type hall struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newHall() *hall { return &hall{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (h *hall) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hall) Close() error {
	close(h.closed)
	return nil
}

func (h *hall) Addr() net.Addr { return &net.TCPAddr{} }

// connect is a client that sends something, and returns its end.
func (h *hall) connect(t *testing.T, sends string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	h.conns <- server
	t.Cleanup(func() { _ = client.Close() })
	if _, err := io.WriteString(client, sends); err != nil {
		t.Fatal(err)
	}
	return client
}

// took is how long something takes.
func took(do func()) time.Duration {
	begun := time.Now()
	do()
	return time.Since(begun)
}

var silent = slog.New(slog.DiscardHandler)

func TestAClientThatDoesNothingHoldsNoStopUp(t *testing.T) {
	for name, sends := range map[string]string{
		"says nothing":             "",
		"begins a request":         "POST / HTTP/1.1\r\nHost: x\r\n",
		"begins a body":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"reads nothing":            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"reads nothing, and sends": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{",
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall()
			s := control.Serve(h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = w.Write(make([]byte, 1<<20))
			}), silent)
			h.connect(t, sends)
			synctest.Wait()
			if d := took(func() {
				if err := s.Close(); err != nil {
					t.Errorf("a client that %s: %v", name, err)
				}
			}); d > time.Second {
				t.Errorf("a client that %s holds the stop up for %v", name, d)
			}
		})
	}
}

func TestWhoHasAskedIsAnsweredBeforeTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		s := control.Serve(h, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(500 * time.Millisecond)
			_, _ = io.WriteString(w, "the whole answer")
		}), silent)
		client := h.connect(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- s.Close() }()
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "the whole answer" {
			t.Errorf("%q, %v", text, err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestARequestMustComeInTimeAndItsAnswerNeedNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		type end struct{ read, asked error }
		ends := make(chan end, 1)
		s := control.Serve(h, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			if err == nil {
				time.Sleep(time.Hour)
			}
			ends <- end{err, r.Context().Err()}
		}), silent)
		head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
		if d := took(func() {
			client := h.connect(t, head+"{")
			go func() { _, _ = io.Copy(io.Discard, client) }()
			if e := <-ends; !errors.Is(e.read, os.ErrDeadlineExceeded) {
				t.Errorf("a body that does not come: %v", e.read)
			}
		}); d != 30*time.Second {
			t.Errorf("a body was waited for %v", d)
		}
		client := h.connect(t, head+"{}")
		if e := <-ends; e.read != nil || e.asked != nil {
			t.Errorf("an answer that takes an hour: %v, %v", e.read, e.asked)
		}
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", resp, err)
		}
		if d := took(func() { _, _ = client.Read(make([]byte, 1)) }); d != 2*time.Minute {
			t.Errorf("an idle connection was kept for %v", d)
		}
		late := h.connect(t, "GET / HTTP/1.1\r\n")
		if d := took(func() { _, _ = io.Copy(io.Discard, late) }); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("a header was waited for %v", d)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAHandlerThatBreaksIsToldToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := newHall()
		s := control.Serve(h, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }), slog.New(slog.NewJSONHandler(&out, nil)))
		client := h.connect(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, client)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), "a bug") || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("the log has %s", out.String())
		}
	})
}
