package http

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// payload is the memory of one Write: the bodies of its requests. The client
// may go on reading a body after it has the answer, so that the memory is used
// again only when the last reader has let go.
type payload struct {
	buf   []byte
	parts []part
	users atomic.Int32
}

// part is one request: all events of the batch, or one.
type part struct {
	from, to int
	events   int
	row      int    // of format single
	id       string // of format single
	trace    string // traceparent; "": none, or the events' differ
}

var payloads = sync.Pool{New: func() any { return &payload{} }}

// maxKept bounds what an idle payload holds on to.
const maxKept = 8 << 20

func newPayload() *payload {
	p := payloads.Get().(*payload)
	p.users.Store(1)
	return p
}

// release is called once by each user.
func (p *payload) release() {
	if p.users.Add(-1) > 0 {
		return
	}
	clear(p.parts)
	p.buf, p.parts = p.buf[:0], p.parts[:0]
	if cap(p.buf) <= maxKept {
		payloads.Put(p)
	}
}

// body reads one part.
func (p *payload) body(at part) io.ReadCloser {
	p.users.Add(1)
	return &body{rest: p.buf[at.from:at.to], of: p}
}

// body is read and closed by goroutines of the client. With HTTP/2 one may be
// in Read while another closes it, or come back to read after that: what it
// reads then must not be the memory of the next Write. So it lets nobody have
// that memory, as a WriteTo would, but copies out of it.
type body struct {
	mu     sync.Mutex
	rest   []byte
	of     *payload
	closed bool
}

// Read is called by the client.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(b.rest) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close is called by the client when it needs the body no more, sometimes
// twice.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed, b.rest = true, nil
		b.of.release()
	}
	return nil
}

// encode makes the bodies of the open events. Nothing of the events is used
// after it.
func (w *writer) encode(b *event.Batch) *payload {
	p := newPayload()
	if w.cfg.Format == formatSingle {
		for row, e := range b.Open() {
			at := part{from: len(p.buf), events: 1, row: row, id: e.ID.String(), trace: traceparent(e)}
			p.buf = eventjson.Append(p.buf, e)
			at.to = len(p.buf)
			p.parts = append(p.parts, at)
		}
	} else {
		w.encodeBatch(p, b)
	}
	if w.cfg.Compression == "gzip" {
		p.compress()
	}
	return p
}

func (w *writer) encodeBatch(p *payload, b *event.Batch) {
	before, between, after := "[", ",", "]"
	if w.cfg.Format == formatNDJSON {
		before, between, after = "", "\n", "\n"
	}
	var at part
	n := 0
	for _, e := range b.Open() {
		if n == 0 {
			at.trace = traceparent(e)
			p.buf = append(p.buf, before...)
		} else {
			p.buf = append(p.buf, between...)
		}
		if at.trace != "" && !sameTrace(at.trace, e) {
			at.trace = ""
		}
		p.buf = eventjson.Append(p.buf, e)
		n++
	}
	if n == 0 {
		return
	}
	p.buf = append(p.buf, after...)
	at.to, at.events = len(p.buf), n
	p.parts = append(p.parts, at)
}

// traceparent is the W3C header of an event with trace and span id.
func traceparent(e *event.Event) string {
	if len(e.TraceID) != 32 || len(e.SpanID) != 16 {
		return ""
	}
	return "00-" + e.TraceID + "-" + e.SpanID + "-01"
}

func sameTrace(header string, e *event.Event) bool {
	return len(e.TraceID) == 32 && header[3:35] == e.TraceID
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compress replaces each part by itself, compressed.
func (p *payload) compress() {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	out := bytes.NewBuffer(make([]byte, 0, len(p.buf)/4+64))
	for i := range p.parts {
		at := &p.parts[i]
		from := out.Len()
		z.Reset(out)
		_, _ = z.Write(p.buf[at.from:at.to]) // to memory
		_ = z.Close()
		at.from, at.to = from, out.Len()
	}
	p.buf = out.Bytes()
}
