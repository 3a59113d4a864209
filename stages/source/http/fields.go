package http

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace/engine/event"
	"millrace/stages/internal/access"
)

// originKind is what of a request a field is set from.
type originKind uint8

const (
	fromClientIP originKind = iota
	fromUser
	fromPath
	fromClaim
	fromHeader
	fromQuery
)

// origin is where the value of a field comes from.
type origin struct {
	kind originKind
	name string // of a claim, header or query parameter
}

func parseOrigin(text string) (origin, error) {
	switch text {
	case "client_ip":
		return origin{kind: fromClientIP}, nil
	case "user":
		return origin{kind: fromUser}, nil
	case "path":
		return origin{kind: fromPath}, nil
	}
	kind, name, _ := strings.Cut(text, ".")
	switch {
	case name == "":
	case kind == "claim":
		return origin{fromClaim, name}, nil
	case kind == "query":
		return origin{fromQuery, name}, nil
	case kind == "header" && !secretHeader(name):
		return origin{fromHeader, http.CanonicalHeaderKey(name)}, nil
	case kind == "header":
		return origin{}, fmt.Errorf("must not be header.%s, whose secret would be stored with the event; use user", name)
	}
	return origin{}, fmt.Errorf("must be client_ip, user, path, claim.NAME, header.NAME or query.NAME, got %q", text)
}

func secretHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Proxy-Authorization", "Cookie":
		return true
	}
	return false
}

// setter sets one field of events from the request.
type setter struct {
	to   func(*event.Event, string)
	from origin
}

// settable are the fields of an event that are no attributes.
var settable = map[string]func(*event.Event, string){
	"source":         func(e *event.Event, v string) { e.Source = v },
	"host":           func(e *event.Event, v string) { e.Host = v },
	"organisation":   func(e *event.Event, v string) { e.Organisation = v },
	"correlation_id": func(e *event.Event, v string) { e.CorrelationID = v },
}

func newSetters(fields map[string]string) []setter {
	var list []setter
	for _, name := range sortedKeys(fields) {
		from, err := parseOrigin(fields[name])
		if err != nil {
			continue // validated
		}
		to := settable[name]
		if to == nil {
			to = func(e *event.Event, v string) { e.SetAttribute(name, event.String(v)) }
		}
		list = append(list, setter{to, from})
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// value finds out what a request says; "" for nothing.
func (o origin) value(r *http.Request, client string, who access.Who) string {
	switch o.kind {
	case fromClientIP:
		return client
	case fromUser:
		return who.Name
	case fromPath:
		return r.URL.Path
	case fromClaim:
		return claimText(who.Claims[o.name])
	case fromHeader:
		return mended(r.Header.Get(o.name))
	default:
		return mended(r.URL.Query().Get(o.name))
	}
}

// claimText is a claim as text: numbers as they are written, lists and maps
// as JSON.
func claimText(claim any) string {
	switch c := claim.(type) {
	case nil:
		return ""
	case string:
		return c
	case json.Number:
		return c.String()
	}
	text, err := json.Marshal(claim)
	if err != nil {
		return ""
	}
	return string(text)
}

// mended is text in which what is no UTF-8 is replaced, as in JSON.
func mended(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// requirement is a field that must not be blank.
type requirement struct {
	name  string // as clients call it
	blank func(*event.Event) bool
}

var requirable = map[string]requirement{
	"source":         {"source", func(e *event.Event) bool { return blank(e.Source) }},
	"message":        {"message", func(e *event.Event) bool { return blank(e.Message) }},
	"level":          {"level", func(e *event.Event) bool { return e.Level == event.LevelUnset }},
	"organisation":   {"organizationId", func(e *event.Event) bool { return blank(e.Organisation) }},
	"host":           {"hostname", func(e *event.Event) bool { return blank(e.Host) }},
	"correlation_id": {"correlationId", func(e *event.Event) bool { return blank(e.CorrelationID) }},
	"timestamp":      {"timestamp", func(e *event.Event) bool { return e.Time.IsZero() }},
}

func requirableNames() []string { return sortedKeys(requirable) }

func blank(s string) bool {
	return s == "" || s[0] <= ' ' && strings.TrimSpace(s) == ""
}

// requirements are those of the configuration, or what belongs to the form of
// the answers.
func (c *Config) requirements() []requirement {
	names := c.Required
	if names == nil {
		switch c.Respond {
		case respondDay1:
			names = []string{"organisation", "level", "message", "source"}
		case respondDay32:
			names = []string{"source", "level", "message"}
		}
	}
	list := make([]requirement, len(names))
	for i, name := range names {
		list[i] = requirable[name]
	}
	return list
}
