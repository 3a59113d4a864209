package kafka

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
)

// headers says which headers of a record become attributes. The zero value:
// none.
type headers struct {
	names []string
	all   bool
}

const traceparent = "traceparent"

func newHeaders(names []string) headers {
	return headers{names: names, all: slices.Contains(names, "*")}
}

// add sets what the headers say and the value did not. Of headers with the same
// name the last counts.
func (h headers) add(rec *kgo.Record, e *event.Event) {
	if len(h.names) == 0 {
		return
	}
	var names event.Names // a record may have as many headers as its producer likes
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		header := &rec.Headers[i]
		if !h.all && !slices.Contains(h.names, header.Key) {
			continue
		}
		if header.Key == traceparent && trace(text(header.Value), e) {
			continue
		}
		if !names.Has(e, header.Key) {
			names.Set(e, header.Key, event.String(strings.ToValidUTF8(text(header.Value), "\uFFFD")))
		}
	}
}

// trace takes trace and span id from a W3C traceparent, 00-<32>-<16>-01, if it
// is one and the event has none.
func trace(value string, e *event.Event) bool {
	parts := strings.Split(value, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 {
		return false
	}
	if e.TraceID == "" {
		e.TraceID, e.SpanID = parts[1], parts[2]
	}
	return true
}
