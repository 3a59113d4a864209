package http

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unsafe"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
)

// formatOf is what a body holds.
func (s *source) formatOf(req *http.Request) string {
	if s.cfg.Format != formatAuto {
		return s.cfg.Format
	}
	given := first(req.Header["Content-Type"])
	if given == "" || given == "application/json" {
		return formatJSON
	}
	kind, _, _ := mime.ParseMediaType(given)
	switch kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl", "application/json-lines", "application/jsonlines",
		"application/x-json-stream", "application/stream+json":
		return formatNDJSON
	case "text/plain":
		return formatLines
	default:
		return formatJSON
	}
}

// decode makes events of the body. Items that are none are left out, and named
// in r.failures; a refusal is about the body as a whole.
func (r *request) decode(format string, batch bool) *refusal {
	r.body = bytes.TrimPrefix(r.body, byteOrderMark)
	switch {
	case format == formatNDJSON:
		return r.decodeLines(func(line []byte, e *event.Event) error { return eventjson.DecodeString(textOf(line), e) })
	case format == formatLines:
		return r.decodeLines(plainLine)
	case batch || firstByte(r.body) == '[':
		return r.decodeArray()
	default:
		return r.decodeSingle()
	}
}

// byteOrderMark is what some editors begin a file with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// textOf is memory of the body as text, which does not change while events
// that point into it are under way.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func firstByte(body []byte) byte {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 {
		return body[0]
	}
	return 0
}

func (r *request) decodeSingle() *refusal {
	r.single = true
	e := r.slot()
	err := eventjson.DecodeString(textOf(r.body), e)
	if err != nil {
		r.events = r.events[:0]
		no := refuse(http.StatusBadRequest, "")
		no.field, no.reason = explain(err)
		return no
	}
	e.Raw = r.body[:len(r.body):len(r.body)]
	if field, reason := r.check(e); reason != "" {
		status := http.StatusBadRequest
		if r.src.tooLarge(e) {
			status = http.StatusRequestEntityTooLarge
		}
		r.events = r.events[:0]
		no := refuse(status, "%s", reason)
		no.field = field
		return no
	}
	r.items = 1
	if no := r.keep(); no != nil {
		return no
	}
	return r.chargeFor(perEvent)
}

func (r *request) decodeArray() *refusal {
	array, err := eventjson.NewArray(textOf(r.body))
	if err != nil {
		return malformed(err)
	}
	for {
		e := r.slot()
		raw, bad, err := array.Next(e)
		if err == io.EOF {
			r.events = r.events[:len(r.events)-1]
			return nil
		}
		if err != nil {
			r.events = r.events[:0] // nothing of it is taken
			return malformed(err)
		}
		if no := r.item([]byte(nil), raw, bad); no != nil {
			return no
		}
	}
}

func malformed(err error) *refusal {
	no := refuse(http.StatusBadRequest, "")
	no.field, no.reason = explain(err)
	return no
}

// item deals with one of several items, which is in the last slot.
func (r *request) item(line []byte, raw string, bad error) *refusal {
	if r.items >= r.src.cfg.MaxEvents {
		r.events = r.events[:0]
		return refuse(http.StatusRequestEntityTooLarge, "the request holds more than %d events, which is the most that is taken", r.src.cfg.MaxEvents)
	}
	if line == nil {
		line = unsafe.Slice(unsafe.StringData(raw), len(raw))
	}
	e := &r.events[len(r.events)-1]
	var f failure
	if bad != nil {
		f.field, f.reason = explain(bad)
	} else {
		e.Raw = line[:len(line):len(line)]
		e.Offset = int64(r.items)
		f.field, f.reason = r.check(e)
	}
	if f.reason != "" {
		r.leaveOut(f)
	} else if no := r.keep(); no != nil {
		return no
	}
	r.items++
	if r.items%chargedTogether == 1 {
		return r.chargeFor(chargedTogether * perEvent)
	}
	return nil
}

// chargedTogether is for how many events room is asked for at once.
const chargedTogether = 16

// chargeFor takes room for what the events hold beside their texts.
func (r *request) chargeFor(bytes int64) *refusal {
	if r.charge(bytes) {
		return nil
	}
	r.events = r.events[:0]
	if limit := r.src.budget.limit; r.charged+bytes > limit { // also when it is alone
		return refuse(http.StatusRequestEntityTooLarge, "the events of the request need more memory than all requests together may (%v); send fewer at once",
			stage.Size(limit))
	}
	return noRoom()
}

func (r *request) decodeLines(decode func([]byte, *event.Event) error) *refusal {
	for rest := r.body; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		if line = bytes.TrimSuffix(line, []byte{'\r'}); len(bytes.TrimLeft(line, " \t\r")) == 0 {
			continue
		}
		bad := decode(line, r.slot())
		if no := r.item(line, "", bad); no != nil {
			return no
		}
	}
	return nil
}

// plainLine makes a line the message of an event.
func plainLine(line []byte, e *event.Event) error {
	*e = event.Event{Attributes: e.Attributes[:0], Message: mended(textOf(line))}
	return nil
}

// explain is what a client is told of an item that is no event.
func explain(err error) (field, reason string) {
	var wrong *eventjson.FieldError
	if errors.As(err, &wrong) {
		return printable(wrong.Field), printable(wrong.Error())
	}
	return "", "the JSON is malformed " + err.Error()
}

// printable is a text of a client in an answer: whole UTF-8, not too long, and
// not memory that is used again.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.ToValidUTF8(strings.Clone(s), "\uFFFD")
}
