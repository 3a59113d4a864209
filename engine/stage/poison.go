package stage

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// PoisonPath is where the stores of bad events of a running engine are served:
// a stage that has one mounts PoisonPath + its route + "/" + its name + "/".
const PoisonPath = "/api/v1/dlq/"

// PoisonKeeper is the Config of a stage that stores bad events. The commands
// that deal with them find it in the pipeline and need to know nothing of the
// stage: they talk to its PoisonStore, which a running engine serves below
// PoisonPath and which OpenPoison opens where none runs.
type PoisonKeeper interface {
	// OpenPoison opens the store for a command, with the Settings of the
	// stage. State may be open for reading only.
	OpenPoison(context.Context, Settings) (PoisonStore, error)
	// PoisonSource is a source that brings what was selected of the store of a
	// route, whichever route it is opened for, and takes out of the store what
	// is settled. It ends with what is there. Its Reader has a method
	// Report() PoisonReport, which tells what was done so far.
	PoisonSource(route string, sel PoisonSelection) (Source, error)
}

// PoisonStore answers requests about stored bad events. Paths are relative to
// where it is mounted, bodies are JSON, many entries are one JSON object per
// line; an answer that is not 200 holds {"error": "…"}.
//
//	GET  ""            PoisonInfo
//	GET  "groups"      []PoisonGroup          query: filter, older_than
//	GET  "entries"     PoisonEntry lines      query: filter, older_than, max_replays
//	GET  "entries/ID"  PoisonEntry
//	GET  "audit"       []PoisonAudit, the oldest first
//	POST "replay"      PoisonReplay → PoisonReport lines, the last one Done
//	POST "purge"       PoisonSelection → PoisonReport
type PoisonStore interface {
	http.Handler
	io.Closer
}

// PoisonInfo says which store it is.
type PoisonInfo struct {
	Pipeline string `json:"pipeline"`
	Route    string `json:"route"`
	Stage    string `json:"stage"`
	// Store is the place in words: "the topic log-events-poison".
	Store string `json:"store"`
	// Place names the store to another stage of the pipeline, for
	// PoisonReplay.From. Two stages with the same place share a store.
	Place json.RawMessage `json:"place"`
}

// PoisonEntry is a bad event as it is stored.
type PoisonEntry struct {
	ID       string `json:"id"`      // in its store
	Version  int64  `json:"version"` // rises when the same event fails again in the same place
	EventID  string `json:"event_id"`
	Pipeline string `json:"pipeline"`
	Route    string `json:"route"`
	Stage    string `json:"stage,omitempty"` // that refused it; "": not known
	Instance string `json:"instance,omitempty"`

	Class     string    `json:"class"` // bad_event, or what the error's PoisonClass says
	Reason    string    `json:"reason"`
	ErrorType string    `json:"error_type,omitempty"`
	Attempts  int       `json:"attempts"`
	Replays   int       `json:"replays"` // how often it was replayed and came back
	First     time.Time `json:"first_failed,omitzero"`
	Last      time.Time `json:"last_failed,omitzero"`

	Origin  PoisonOrigin `json:"origin"`
	TraceID string       `json:"trace_id,omitempty"`
	SpanID  string       `json:"span_id,omitempty"`
	Key     []byte       `json:"key,omitempty"`
	// Form says what Payload is: "original" (the bytes that were received),
	// "text" (the same, and they are the message), "null" (a record without a
	// value), "event" (the event as JSON, since it was made in the pipeline).
	Form    string `json:"form"`
	Payload []byte `json:"payload"`
	// Given is what the source gave the event beside Payload or in the place of
	// what that says, as JSON; null: Payload has the field and the event has
	// not. "": nothing, or not known.
	Given json.RawMessage `json:"given,omitempty"`
	// Event is the event as JSON, where a single entry was asked for and it
	// could be read.
	Event json.RawMessage `json:"event,omitempty"`
}

// PoisonOrigin is where an event came from.
type PoisonOrigin struct {
	Kind      string    `json:"kind,omitempty"` // "kafka", "file", "http" …
	Name      string    `json:"name,omitempty"` // topic, path, client
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time,omitzero"` // when it was due there
}

// PoisonGroup is what failed at one stage for one reason.
type PoisonGroup struct {
	Class   string    `json:"class"`
	Stage   string    `json:"stage,omitempty"`
	Reason  string    `json:"reason"` // numbers and quoted text left out where they differ
	Events  int64     `json:"events"`
	Replays int       `json:"replays"` // the most of one of them
	First   time.Time `json:"first_failed,omitzero"`
	Last    time.Time `json:"last_failed,omitzero"`
	Example string    `json:"example"` // ID of one of them
}

// PoisonSelection picks entries.
type PoisonSelection struct {
	// Filter is an expression; beside the event's own fields it may ask for
	// attributes.dlq_reason, dlq_class, dlq_stage, dlq_attempts and
	// dlq_replays. "": all.
	Filter string `json:"filter,omitempty"`
	// OlderThan picks those that failed last so long ago. 0: all.
	OlderThan Duration `json:"older_than,omitempty"`
	// MaxReplays leaves those alone that were replayed so often. 0: no bound.
	MaxReplays int `json:"max_replays,omitempty"`
	// Rate bounds how many are taken per second. 0: no bound.
	Rate Rate `json:"rate,omitempty"`
	// DryRun counts and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// By is who asks, for the audit.
	By string `json:"by,omitempty"`
}

// PoisonReplay asks to bring bad events back into the route of the store that
// is asked, inside the stage that stores them, or into a topic.
type PoisonReplay struct {
	PoisonSelection
	// From is the place of another store to take them from; nil: this one.
	From json.RawMessage `json:"from,omitempty"`
	// Topic is where to write them; "": into the route.
	Topic string `json:"topic,omitempty"`
}

// PoisonReport counts what a replay or a purge did.
type PoisonReport struct {
	Selected  int64  `json:"selected"`      // matched; a dry run ends here
	Delivered int64  `json:"delivered"`     // or purged: settled, and out of the store
	Filtered  int64  `json:"filtered"`      // taken out by a rule of the route
	Poisoned  int64  `json:"poisoned"`      // failed again: stored again, with a higher count
	Left      int64  `json:"left"`          // not settled, and still in the store
	Shed      int64  `json:"shed"`          // of these, those that a rule of the route shed
	Skipped   int64  `json:"skipped"`       // replayed too often already
	Undecided int64  `json:"undecided"`     // the filter made no sense for them: not selected
	Why       string `json:"why,omitempty"` // of the last that failed again or was left
	Done      bool   `json:"done"`          // false: more will come
	Error     string `json:"error,omitempty"`
}

// PoisonAudit is the record of a replay or purge.
type PoisonAudit struct {
	At     time.Time    `json:"at"`
	By     string       `json:"by"`
	What   string       `json:"what"` // "replay" or "purge"
	To     string       `json:"to,omitempty"`
	Filter string       `json:"filter,omitempty"`
	Report PoisonReport `json:"report"`
}

// PlainError reports whether a PoisonEntry's ErrorType says no more of an error
// than that it is one: the reason is all there is to know then.
func PlainError(goType string) bool {
	switch goType {
	case "", "*errors.errorString", "*errors.joinError", "*fmt.wrapError", "*fmt.wrapErrors", "*stage.classError", "*stage.RefusedError":
		return true
	}
	return false
}
