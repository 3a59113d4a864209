package sql

import (
	"strings"
	"unicode/utf8"

	"millrace/engine/event"
)

// textColumn is a column of text. Empty text in an optional one is NULL.
type textColumn struct {
	name     string
	optional bool
	value    func(*event.Event) string
}

// texts are the columns of text in the order of the table, after event_id and
// timestamp and before metadata.
var texts = [...]textColumn{
	{"level", true, func(e *event.Event) string { return e.Level.String() }},
	{"source", false, func(e *event.Event) string { return e.Source }},
	{"host", true, func(e *event.Event) string { return e.Host }},
	{"message", false, func(e *event.Event) string { return e.Message }},
	{"organisation", true, func(e *event.Event) string { return e.Organisation }},
	{"correlation_id", true, func(e *event.Event) string { return e.CorrelationID }},
	{"trace_id", true, func(e *event.Event) string { return e.TraceID }},
	{"span_id", true, func(e *event.Event) string { return e.SpanID }},
	{"stack_trace", true, func(e *event.Event) string { return e.StackTrace }},
}

// kinds are what the column type of the attributes table holds, by event.Kind.
var kinds = [...]string{event.KindString: "string", event.KindInt: "int", event.KindFloat: "float", event.KindBool: "bool"}

// attributeColumns are the columns of the attributes table.
var attributeColumns = []string{"event_id", "key", "value", "type"}

// eventColumns lists the columns the sink writes, in order.
func eventColumns(metadata bool) []string {
	names := []string{"event_id", "timestamp"}
	for _, c := range texts {
		names = append(names, c.name)
	}
	if metadata {
		names = append(names, "metadata")
	}
	return names
}

// indexes are made with the table. Levels are indexed where people look for
// them: most rows are INFO or below, and finding those goes by time.
var indexes = []struct{ name, on string }{
	{"timestamp", `(timestamp)`},
	{"source", `(source)`},
	{"level", `(level, timestamp) WHERE level IN ('WARN', 'ERROR', 'FATAL')`},
	{"correlation_id", `(correlation_id) WHERE correlation_id IS NOT NULL`},
}

// unstorable names the column whose text holds what Postgres cannot store: the
// character U+0000, or bytes that are not UTF-8. "" when all is well. SQLite
// could, but a row must not depend on which database a pipeline was given.
func unstorable(e *event.Event) string {
	for i := range texts {
		if !storable(texts[i].value(e)) {
			return texts[i].name
		}
	}
	for i := range e.Attributes {
		a := &e.Attributes[i]
		if !storable(a.Key) || !storable(a.Value.Str()) {
			return "metadata"
		}
	}
	return ""
}

func storable(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }
