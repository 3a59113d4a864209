package http

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/engine/stage"
)

// refusal is a no that is given before the events of a request are on their
// way. It is no error of ours.
type refusal struct {
	status int
	field  string // that is to blame; "": none
	reason string
	after  time.Duration // when to try again; 0: no need to
	hangUp bool          // what is left of the request is not read
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// goneAway is the refusal for a client that hears no answer.
var goneAway = &refusal{}

// firstRead bounds what is set aside for a body before any of it has come.
const firstRead = 64 << 10

// read reads the body, unpacked, within max_body and the buffer.
func (r *request) read(w http.ResponseWriter, req *http.Request) *refusal {
	packed, no := isPacked(req)
	if no != nil {
		return no
	}
	limit := int64(r.src.cfg.MaxBody)
	if req.ContentLength > limit {
		return r.tooLarge()
	}
	r.src.beginReading(w)
	r.raw = rawBody{from: req.Body, left: limit + 1}
	raw := &r.raw
	if packed {
		no = r.unpack(raw)
	} else {
		no = r.fill(raw, raw, req.ContentLength)
	}
	if no == nil {
		r.src.endReading(w, r.arrived)
	}
	return no
}

func (r *request) unpack(raw *rawBody) *refusal {
	unpacker := unpackers.Get().(*gzip.Reader)
	defer unpackers.Put(unpacker)
	if err := unpacker.Reset(raw); err != nil {
		return r.unreadable(raw, err)
	}
	return r.fill(unpacker, raw, -1)
}

var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

func isPacked(req *http.Request) (bool, *refusal) {
	switch encoding := first(req.Header["Content-Encoding"]); strings.ToLower(encoding) {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	default:
		no := refuse(http.StatusUnsupportedMediaType, "Content-Encoding must be gzip or nothing, got %q", printable(encoding))
		no.field, no.hangUp = "Content-Encoding", true
		return false, no
	}
}

// rawBody is the body as it comes. It remembers what went wrong with it, so
// that this is told from what was wrong with the text in it.
type rawBody struct {
	from io.Reader
	left int64 // of what may come
	err  error
}

func (b *rawBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.err = errTooLarge
		return 0, b.err
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

var errTooLarge = errors.New("body too large")

// fill reads to the end. length is how much is announced, or -1.
func (r *request) fill(from io.Reader, raw *rawBody, length int64) *refusal {
	limit := int64(r.src.cfg.MaxBody)
	if want := min(length, firstRead) + 1; length > 0 && int64(cap(r.body)) < want {
		r.body = make([]byte, 0, want)
	}
	for {
		if len(r.body) == cap(r.body) {
			r.grow(limit)
		}
		n, err := from.Read(r.body[len(r.body):cap(r.body)])
		r.body = r.body[:len(r.body)+n]
		switch {
		case int64(len(r.body)) > limit:
			return r.tooLarge()
		case n > 0 && !r.charge(int64(n)):
			no := noRoom()
			no.hangUp = true
			return no
		case err == io.EOF:
			return nil
		case err != nil:
			return r.unreadable(raw, err)
		}
	}
}

func (r *request) grow(limit int64) {
	size := min(max(2*int64(cap(r.body)), 4<<10), limit+1)
	bigger := make([]byte, len(r.body), size)
	copy(bigger, r.body)
	r.body = bigger
}

func (r *request) tooLarge() *refusal {
	no := refuse(http.StatusRequestEntityTooLarge, "the body is larger than %s, which is the most that is taken", r.src.cfg.MaxBody)
	no.hangUp = true
	return no
}

func noRoom() *refusal {
	no := refuse(http.StatusServiceUnavailable, "too many requests wait already")
	no.after = time.Second
	return no
}

// unreadable tells why a body ended before its end.
func (r *request) unreadable(raw *rawBody, err error) *refusal {
	var no *refusal
	switch {
	case errors.Is(raw.err, errTooLarge):
		return r.tooLarge()
	case errors.Is(raw.err, os.ErrDeadlineExceeded):
		no = refuse(http.StatusRequestTimeout, "the request did not come within %s", stage.Duration(r.src.cfg.ReadTimeout))
	case raw.err != nil:
		no = refuse(http.StatusBadRequest, "the body ended too early")
	default:
		no = refuse(http.StatusBadRequest, "the body is not the gzip that Content-Encoding says: %v", err)
		no.field = "Content-Encoding"
	}
	no.hangUp = true
	return no
}

// beginReading sees to it that a client cannot send for ever. An address of our
// own has that for all requests. Writers without deadlines are those of tests:
// what they say is no matter.
func (s *source) beginReading(w http.ResponseWriter) {
	if s.listener == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout.Std()))
	}
}

// endReading takes that back when all of the body has come, if it could pass
// while the answer is waited for, which would end the request. It stays for a
// body that was given up: the server reads on for a while.
func (s *source) endReading(w http.ResponseWriter, arrived time.Time) {
	left := s.cfg.ReadTimeout.Std() - time.Since(arrived)
	if s.listener == nil || left <= s.cfg.AckTimeout.Std()+time.Second {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
}

// boundWriting gives an answer that had to be waited for the time of any other:
// the deadline of its connection counts from the request.
func (s *source) boundWriting(w http.ResponseWriter, waited time.Duration) {
	if s.listener != nil && waited > writeTimeout/2 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	}
}
