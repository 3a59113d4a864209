package http

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// form is in whose words a source answers.
type form struct {
	status int
	words  string   // respondDay1, respondDay32, or "" for the template
	text   template // of a good answer, where words is ""
}

func newForm(c *Config) form {
	f := form{status: http.StatusAccepted, words: c.Respond}
	switch c.Respond {
	case respondDay1:
		f.status = http.StatusOK
	case respondDay32:
	default:
		f.words = ""
		f.text, _ = parseTemplate(c.Respond) // validated
	}
	if c.Status != 0 {
		f.status = c.Status
	}
	return f
}

// failure is an item of a request that did not become an event, or was not
// taken.
type failure struct {
	item   int
	field  string // "": the whole item
	reason string
}

// outcome is what a good answer tells.
type outcome struct {
	id               string // of the first event
	single           bool
	accepted, failed int
	failures         []failure
	at               time.Time
}

// good appends the body of a good answer.
func (f *form) good(buf []byte, o *outcome) []byte {
	switch {
	case f.words == "":
		return f.text.append(buf, o)
	case !o.single:
		return o.appendCounts(buf)
	case f.words == respondDay1:
		buf = append(buf, `{"status":"success","id":`...)
		buf = appendText(buf, o.id)
		return append(buf, `,"message":"Log event queued for processing"}`...)
	default:
		buf = append(buf, `{"eventId":`...)
		buf = appendText(buf, o.id)
		buf = append(buf, `,"status":"Accepted","timestamp":`...)
		return append(appendTime(buf, o.at), '}')
	}
}

// no appends the body of an answer that says no. counts are added where a
// request of several items was taken in part.
func (f *form) no(buf []byte, status int, field, message string, o *outcome) []byte {
	if f.words == respondDay1 && status == http.StatusServiceUnavailable && (o == nil || o.single) {
		return append(buf, `{"status":"service_unavailable","message":"Log processing temporarily unavailable"}`...)
	}
	word := "error"
	switch status {
	case http.StatusServiceUnavailable:
		word = "service_unavailable"
	case http.StatusTooManyRequests:
		word = "rate_limited"
	}
	buf = append(buf, `{"status":`...)
	buf = appendText(buf, word)
	if field != "" {
		buf = append(buf, `,"field":`...)
		buf = appendText(buf, field)
	}
	buf = append(buf, `,"message":`...)
	buf = appendText(buf, message)
	switch {
	case o == nil:
	case o.single:
		buf = append(buf, `,"eventId":`...)
		buf = appendText(buf, o.id)
	default:
		buf = o.appendInside(append(buf, ','))
	}
	return append(buf, '}')
}

// appendCounts appends the answer to a request of several items.
func (o *outcome) appendCounts(buf []byte) []byte {
	buf = append(buf, '{')
	return append(o.appendInside(buf), '}')
}

func (o *outcome) appendInside(buf []byte) []byte {
	buf = strconv.AppendInt(append(buf, `"accepted":`...), int64(o.accepted), 10)
	buf = strconv.AppendInt(append(buf, `,"failed":`...), int64(o.failed), 10)
	buf = appendTime(append(buf, `,"timestamp":`...), o.at)
	if o.failed > 0 {
		buf = o.appendFailures(append(buf, `,"errors":`...))
	}
	return buf
}

// mostFailures bounds an answer: a client that sends nothing but rubbish can
// see from these what is wrong.
const mostFailures = 1000

func (o *outcome) appendFailures(buf []byte) []byte {
	buf = append(buf, '[')
	for i, f := range o.failures[:min(len(o.failures), mostFailures)] {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = strconv.AppendInt(append(buf, `{"index":`...), int64(f.item), 10)
		if f.field != "" {
			buf = appendText(append(buf, `,"field":`...), f.field)
		}
		buf = append(appendText(append(buf, `,"reason":`...), f.reason), '}')
	}
	return append(buf, ']')
}

// appendTime appends a time as text, in UTC with milliseconds. What the answers
// of a second have in common is made once.
func appendTime(buf []byte, t time.Time) []byte {
	is := second.Load()
	if is == nil || is.unix != t.Unix() {
		is = &secondText{t.Unix(), t.UTC().Format(`"2006-01-02T15:04:05.`)}
		second.Store(is)
	}
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(append(buf, is.text...), byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z', '"')
}

// secondText is a second as text.
type secondText struct {
	unix int64
	text string
}

var second atomic.Pointer[secondText] // the one that was written last

// appendText appends a JSON string.
func appendText(buf []byte, s string) []byte { return eventjson.AppendText(buf, s) }

// idOf is an event's id as its client knows it, until the request ends.
func (r *request) idOf(e *event.Event) string {
	if own, ok := e.Attribute(eventjson.OriginalID); ok {
		return strings.Clone(own.String())
	}
	return textOf(eventjson.AppendID(r.id[:0], e.ID))
}

// template is the text of an answer with places for values.
type template []piece

// piece is text, or a value's place behind it.
type piece struct {
	text  string
	value string // "": none
}

var values = []string{"id", "accepted", "failed", "errors", "timestamp"}

// parseTemplate reads `{"id": "{{id}}"}`.
func parseTemplate(text string) (template, error) {
	var t template
	for {
		before, rest, found := strings.Cut(text, "{{")
		if !found {
			return append(t, piece{text: text}), nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		if name = strings.TrimSpace(name); !closed || !slices.Contains(values, name) {
			return nil, fmt.Errorf("may hold {{%s}}, got {{%s", strings.Join(values, "}}, {{"), short(rest))
		}
		t = append(t, piece{before, name})
		text = after
	}
}

func short(s string) string {
	if len(s) > 20 {
		return strings.ToValidUTF8(s[:20], "") + "…"
	}
	return s
}

func (t template) append(buf []byte, o *outcome) []byte {
	for _, p := range t {
		buf = append(buf, p.text...)
		switch p.value {
		case "id":
			quoted := appendText(nil, o.id)
			buf = append(buf, quoted[1:len(quoted)-1]...) // the template has the quotation marks
		case "accepted":
			buf = strconv.AppendInt(buf, int64(o.accepted), 10)
		case "failed":
			buf = strconv.AppendInt(buf, int64(o.failed), 10)
		case "errors":
			buf = o.appendFailures(buf)
		case "timestamp":
			at := appendTime(nil, o.at)
			buf = append(buf, at[1:len(at)-1]...)
		}
	}
	return buf
}
