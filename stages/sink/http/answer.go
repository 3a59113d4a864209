package http

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"millrace/engine/stage"
)

// verdict is what an answer says about the events of its request.
type verdict struct {
	err   error  // nil: delivered, but for items
	items []item // those that failed, of a request that succeeded as a whole
	away  bool   // the next request would fail, too
	taken bool   // the service took the events all the same: do not send them again
}

// judge holds an answer against what was expected, or against the meaning of
// its status. The request was of n events.
func (w *writer) judge(answer *http.Response, text []byte, n int) verdict {
	status, expect := answer.StatusCode, w.cfg.Expect
	if expect == nil {
		expect = &Expect{}
	}
	success := status >= 200 && status <= 299
	good := success
	if expect.Status != 0 {
		good = status == expect.Status
	}
	if good && strings.Contains(string(text), expect.Body) {
		return w.items(status, text, n)
	}
	if w.cfg.Expect != nil {
		w.metrics.unexpected.Inc()
	}
	err := fmt.Errorf("%s answered %s", w.place, quote(answer, text))
	switch {
	case !good && !success && !expect.Strict:
		return w.byStatus(answer, err)
	case good:
		err = fmt.Errorf("%w, expected a body with %q", err, expect.Body)
	case expect.Status == 0:
		err = fmt.Errorf("%w, expected 200 to 299", err)
	default:
		err = fmt.Errorf("%w, expected %d", err, expect.Status)
	}
	return verdict{err: stage.Bad(err), taken: true}
}

// byStatus gives an answer that is no success its class.
func (w *writer) byStatus(answer *http.Response, err error) verdict {
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return verdict{err: stage.Throttled(err, w.retryAfter(answer)), away: true}
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return verdict{err: stage.Throttled(err, w.retryAfter(answer))}
	case status == http.StatusBadRequest, status == http.StatusConflict, status == http.StatusRequestEntityTooLarge,
		status == http.StatusUnprocessableEntity:
		return verdict{err: stage.Bad(err)}
	case status >= 300 && status <= 399:
		err = fmt.Errorf("%w; redirects are not followed: set url to %q", err, location(answer))
		return verdict{err: stage.Fatal(err), away: true}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return verdict{err: stage.Fatal(fmt.Errorf("%w; check basic, bearer or the headers that log in", err)), away: true}
	case status == http.StatusNotFound:
		return verdict{err: stage.Fatal(fmt.Errorf("%w; check the path of url", err)), away: true}
	default:
		return verdict{err: stage.Fatal(err), away: true}
	}
}

// location is where an answer sends us, without a query: it may be that of url.
func location(answer *http.Response) string {
	u, err := answer.Location()
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// retryAfter reads the header, in seconds or as a date; 0: it says nothing.
func (w *writer) retryAfter(answer *http.Response) time.Duration {
	text := answer.Header.Get("Retry-After")
	if text == "" {
		return 0
	}
	after := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		after = at.Sub(w.clock.Now())
	}
	return min(max(after, 0), maxRetryAfter)
}

// maxRetryAfter bounds what a service can ask for: a slip of its clock must
// not stop a route for days.
const maxRetryAfter = time.Hour

// quote is an answer in one line of an error.
func quote(answer *http.Response, text []byte) string {
	status := strconv.Itoa(answer.StatusCode)
	if name := http.StatusText(answer.StatusCode); name != "" {
		status += " " + name
	}
	if line := firstLine(text); line != "" {
		status += ": " + line
	}
	return status
}

// maxLine bounds how much of an answer goes into an error.
const maxLine = 200

// firstLine is the first line of a text that has something in it, cut, with
// what cannot be printed left out.
func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(text[:min(len(text), 8*maxLine)]), []byte("\n"))
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(line))
	clean = strings.TrimSpace(clean)
	if runes := []rune(clean); len(runes) > maxLine {
		return string(runes[:maxLine]) + "…"
	}
	return clean
}
