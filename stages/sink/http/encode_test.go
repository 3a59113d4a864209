package http

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A client of HTTP/2 may go on reading a body that it has closed: it must not
// get what the next Write puts into the memory.
func TestABodyThatIsClosedGivesNothingMore(t *testing.T) {
	for range 100 {
		p := &payload{buf: []byte(strings.Repeat("a", 4096))}
		p.users.Store(1)
		body := p.body(part{to: len(p.buf)})
		if _, ok := body.(io.WriterTo); ok {
			t.Fatal("it hands out the memory itself")
		}
		begun, ended := make(chan struct{}), make(chan error)
		go func() {
			read := make([]byte, 1)
			for first := true; ; first = false {
				n, err := body.Read(read)
				if first {
					close(begun)
				}
				if n > 0 && read[0] != 'a' {
					err = errors.New("it read what is another's")
				}
				if err != nil {
					ended <- err
					return
				}
			}
		}()
		<-begun
		_ = body.Close()
		_ = body.Close()
		for i := range p.buf { // the next Write has it
			p.buf[:cap(p.buf)][i] = 'b'
		}
		if err := <-ended; err != io.EOF && err != http.ErrBodyReadAfterClose {
			t.Fatal(err)
		}
		if n, err := body.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		if n := p.users.Load(); n != 1 {
			t.Fatalf("%d have the memory, want only who made it", n)
		}
	}
}
