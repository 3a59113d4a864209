package poisonqueue

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
	"millrace/stages/internal/poison"
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

// entries describes the refused events of a batch, in which rows they are, and
// which of them a replay brought.
func (q *queue) entries(b *event.Batch, g *given) (entries []poison.Entry, rows []int, again []bool) {
	n := b.Count(event.Refused)
	entries, rows, again = make([]poison.Entry, 0, n), make([]int, 0, n), make([]bool, 0, n)
	now := q.settings.Clock.Now()
	for row, e := range b.Refused() {
		from := b.Origin(row)
		r := poison.Entry{
			EventID: e.ID.String(), Key: []byte(e.Key), Last: now,
			Pipeline: q.settings.Pipeline, Route: q.settings.Route, Instance: q.settings.Instance, TraceID: e.TraceID, SpanID: e.SpanID,
		}
		r.Origin.Kind, r.Origin.Name, r.Origin.Partition, r.Origin.Offset = from.Kind, from.Name, from.Partition, e.Offset
		if e.Due != 0 {
			r.Origin.Time = time.Unix(0, e.Due)
		}
		r.Replays = int(e.Replays)
		was, read := g.event(b, row)
		r.Payload, r.Form = payload(was, from)
		r.Given = poison.Given(&r, was, read)
		blame(&r, b, row)
		entries, rows, again = append(entries, r), append(rows, row), append(again, from.Replay)
	}
	return entries, rows, again
}

// payload is what is to be stored of an event.
func payload(e *event.Event, from event.Origin) (bytes []byte, form string) {
	switch {
	case e.Raw != nil && e.Message != "" && e.Message == string(e.Raw):
		return e.Raw, poison.FormText
	case e.Raw != nil:
		return e.Raw, poison.FormOriginal
	case from.Kind == "kafka":
		return nil, poison.FormNull
	default:
		return eventjson.Append(nil, e), poison.FormEvent
	}
}

// blame writes down the error and its history.
func blame(r *poison.Entry, b *event.Batch, row int) {
	err := b.Err(row)
	if err == nil {
		err = errors.New("refused without a reason")
	}
	r.Attempts, r.First = b.Failures(row)
	r.Reason, r.ErrorType = bounded(err.Error(), maxReason), errorType(err)
	r.Class = classBad
	if at, ok := errors.AsType[staged](err); ok {
		r.Stage = at.Stage()
	}
	if of, ok := errors.AsType[classed](err); ok {
		r.Class = of.PoisonClass()
	}
}

// errorType is the innermost Go type of a chain of errors that tells more than
// that it is an error; where none does, the innermost of all.
func errorType(err error) (name string) {
	telling := ""
	for ; err != nil; err = errors.Unwrap(err) {
		if name = fmt.Sprintf("%T", err); !stage.PlainError(name) {
			telling = name
		}
	}
	return cmp.Or(telling, name)
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
