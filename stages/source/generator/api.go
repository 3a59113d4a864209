package generator

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// api serves the generator's HTTP API below a path.
func (r *reader) api(base string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rest := strings.Trim(strings.TrimPrefix(req.URL.Path, base), "/")
		name, key, keyed := strings.Cut(rest, "/")
		switch {
		case rest == "start":
			only(w, req, func() any { return r.serveStart(req.Context()) }, http.MethodPost)
		case rest == "stop":
			only(w, req, func() any { return r.serveStop(req.Context()) }, http.MethodPost)
		case rest == "status":
			only(w, req, r.serveStatus, http.MethodGet, http.MethodHead)
		case name == "rate" && keyed:
			only(w, req, func() any { return r.serveRate(key) }, http.MethodGet, http.MethodHead)
		default:
			answer(w, http.StatusNotFound, verdictBody{"error", "there is no " + req.URL.Path + "; there are start, stop, status and rate/{key}"})
		}
	})
}

// only answers a request whose method is among those that a path has.
func only(w http.ResponseWriter, req *http.Request, serve func() any, methods ...string) {
	if slices.Contains(methods, req.Method) {
		answer(w, http.StatusOK, serve())
		return
	}
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	answer(w, http.StatusMethodNotAllowed, verdictBody{"error", "the method must be " + allow + ", got " + req.Method})
}

// answer writes a body whole, with its length: HTTP/1.0 clients that keep
// their connection hang on chunked answers.
func answer(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"status":"error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text) // a client that has gone needs no answer
}

// verdictBody is the answer of what does something, and of what cannot.
type verdictBody struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func (r *reader) serveStart(ctx context.Context) any {
	r.warn(r.desk.start(ctx))
	return verdictBody{"started", "Log generation started successfully"}
}

// warn logs that what has been done could not be written down.
func (r *reader) warn(err error) {
	if err != nil {
		r.desk.log.Warn("the load has been started or stopped, but", "route", r.desk.route, "error", err)
	}
}

func (r *reader) serveStop(ctx context.Context) any {
	r.warn(r.desk.stop(ctx))
	return verdictBody{"stopped", "Log generation stopped successfully"}
}

// statusBody is the answer of status.
type statusBody struct {
	Running          bool  `json:"running"`
	TotalGenerated   int64 `json:"totalGenerated"`   // handed out
	TotalRateLimited int64 `json:"totalRateLimited"` // of them shed or rejected
	CurrentRate      int64 `json:"currentRate"`      // events of the last full second
}

func (r *reader) serveStatus() any {
	v := r.view()
	return statusBody{v.running, v.total, r.limited.Load(), v.second}
}

// rateBody is the answer of rate/{key}.
type rateBody struct {
	Key         string  `json:"key"`
	CurrentRate float64 `json:"currentRate"` // events/s over the window, or since the start when that is less
	WindowSize  int     `json:"windowSize"`  // seconds
}

// serveRate answers for "global" and for the name of this instance, which mean
// the same, since a generator is one instance. Under any other key nothing was
// made, so its rate is 0: clients may ask for instances that are not here.
func (r *reader) serveRate(key string) any {
	body := rateBody{Key: key, WindowSize: window}
	if key == "global" || key == r.instance {
		body.CurrentRate = r.view().average
	}
	return body
}
