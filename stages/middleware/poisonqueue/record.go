package poisonqueue

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// record is a bad event and what is known about it. Its memory is the event's.
type record struct {
	row     int
	id      uuid.UUID
	key     string
	payload []byte
	form    string // of the payload

	origin event.Origin
	offset int64
	due    time.Time // zero: unknown

	reason    string
	class     string
	errorType string
	stage     string // that refused it; "": not known
	attempts  int
	first     time.Time // when it failed first
	last      time.Time // when it was given up

	pipeline, route, instance string
	traceID, spanID           string
}

// The forms of a payload.
const (
	formOriginal = "original" // the bytes that were received
	formNull     = "null"     // a Kafka record without a value was received
	formEvent    = "event"    // made in the pipeline, so there are none: the event as JSON
)

// Errors of refused events may say two things more, by their methods: which
// stage refused it, and of which class it is when the event itself is not to
// blame (a stage that was told to give up on bad weather says "exhausted").
type (
	staged interface {
		error
		Stage() string
	}
	classed interface {
		error
		PoisonClass() string
	}
)

// classBad is the class of errors that do not name one.
const classBad = "bad_event"

// maxReason bounds the reason, which can be as long as an error of a database.
const maxReason = 1 << 10

// records describes the refused events of a batch.
func (q *queue) records(b *event.Batch) []record {
	records := make([]record, 0, b.Count(event.Refused))
	now := q.settings.Clock.Now()
	for row, e := range b.Refused() {
		r := record{
			row: row, id: e.ID, key: e.Key, origin: b.Origin(row), offset: e.Offset, last: now,
			pipeline: q.settings.Pipeline, route: q.settings.Route, instance: q.settings.Instance, traceID: e.TraceID, spanID: e.SpanID,
		}
		if e.Due != 0 {
			r.due = time.Unix(0, e.Due)
		}
		r.payload, r.form = payload(e, r.origin)
		r.blame(b, row)
		records = append(records, r)
	}
	return records
}

// payload is what is to be stored of an event.
func payload(e *event.Event, from event.Origin) (bytes []byte, form string) {
	switch {
	case e.Raw != nil:
		return e.Raw, formOriginal
	case from.Kind == "kafka":
		return nil, formNull
	default:
		return eventjson.Append(nil, e), formEvent
	}
}

// blame writes down the error and its history.
func (r *record) blame(b *event.Batch, row int) {
	err := b.Err(row)
	if err == nil {
		err = errors.New("refused without a reason")
	}
	r.attempts, r.first = b.Failures(row)
	r.reason, r.errorType = bounded(err.Error(), maxReason), fmt.Sprintf("%T", root(err))
	r.class = classBad
	if at, ok := errors.AsType[staged](err); ok {
		r.stage = at.Stage()
	}
	if of, ok := errors.AsType[classed](err); ok {
		r.class = of.PoisonClass()
	}
}

// root is the error that all others of a chain were put around.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// bounded cuts text to a number of bytes, between characters.
func bounded(s string, most int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= most {
		return s
	}
	const dots = "…"
	cut := most - len(dots)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}
