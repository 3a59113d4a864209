package circuit

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// commands are what can be done to a breaker by hand.
var commands = map[string]func(*Breaker) error{
	"open":         func(b *Breaker) error { return b.Change(Opened) },
	"forced_open":  func(b *Breaker) error { return b.Change(ForcedOpen) },
	"close":        func(b *Breaker) error { return b.Change(Closed) },
	"disable":      func(b *Breaker) error { return b.Change(Disabled) },
	"metrics_only": func(b *Breaker) error { return b.Change(MetricsOnly) },
	"reset":        func(b *Breaker) error { b.Reset(); return nil },
}

// Control shows the breaker at a path and takes commands below it. about is
// what stands at the head of its answers.
func (b *Breaker) Control(path string, about About) http.Handler {
	path = strings.TrimSuffix(path, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.Trim(strings.TrimPrefix(r.URL.Path, path), "/")
		command := commands[name]
		switch {
		case name == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			answer(w, http.StatusOK, b.describe(about))
		case name == "":
			notAllowed(w, "GET, HEAD", r.Method)
		case command == nil:
			answer(w, http.StatusNotFound, problem{"there is no command " + strconv.Quote(name) +
				"; there are open, forced_open, close, disable, metrics_only and reset"})
		case r.Method != http.MethodPost:
			notAllowed(w, "POST", r.Method)
		default:
			if err := command(b); err != nil {
				answer(w, http.StatusConflict, problem{err.Error() + "; close it first"})
				return
			}
			answer(w, http.StatusOK, b.describe(about))
		}
	})
}

// About says which breaker it is.
type About struct {
	Route    string `json:"route"`
	Name     string `json:"name"`
	Resource string `json:"resource,omitempty"` // "": the route's own
}

// description is the answer of the control API.
type description struct {
	About
	State        string     `json:"state"`
	Since        time.Time  `json:"since"`
	TryAt        *time.Time `json:"try_at,omitempty"` // open: when trials are let through
	Attempts     int        `json:"attempts"`         // times opened since it was closed last
	FailureRate  float32    `json:"failure_rate"`     // percent, -1: too few calls
	SlowCallRate float32    `json:"slow_call_rate"`
	Window       struct {
		Calls      int `json:"calls"`
		Failed     int `json:"failed"`
		Slow       int `json:"slow"`
		SlowFailed int `json:"slow_failed"`
	} `json:"window"`
	Waiting int `json:"waiting"` // calls that wait to be let through now
	// Since the start.
	Totals struct {
		Successful   uint64 `json:"successful"`
		Failed       uint64 `json:"failed"`
		Ignored      uint64 `json:"ignored"`
		NotPermitted uint64 `json:"not_permitted"`
	} `json:"totals"`
}

func (b *Breaker) describe(about About) description {
	s := b.Look()
	d := description{
		About: about, State: s.State.String(), Since: s.Since.UTC(), Attempts: s.Attempts,
		FailureRate: s.FailureRate, SlowCallRate: s.SlowCallRate, Waiting: s.Waiting,
	}
	if !s.TryAt.IsZero() {
		at := s.TryAt.UTC()
		d.TryAt = &at
	}
	d.Window.Calls, d.Window.Failed = s.BufferedCalls, s.FailedCalls
	d.Window.Slow, d.Window.SlowFailed = s.SlowCalls, s.SlowFailedCalls
	d.Totals.Successful, d.Totals.Failed = s.Finished[Success], s.Finished[Failure]
	d.Totals.Ignored, d.Totals.NotPermitted = s.Finished[Ignored], s.NotPermitted
	return d
}

// problem is the answer to what cannot be done.
type problem struct {
	Error string `json:"error"`
}

func notAllowed(w http.ResponseWriter, allow, got string) {
	w.Header().Set("Allow", allow)
	answer(w, http.StatusMethodNotAllowed, problem{"the method must be " + allow + ", got " + got})
}

// answer writes a body whole, with its length.
func answer(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text) // a client that has gone needs no answer
}
