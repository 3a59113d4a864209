package http

import (
	"bytes"
	"encoding/json"
	"errors"
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

// item is one event of a request that failed.
type item struct {
	index  int
	reason string
	again  bool // trying again may help
}

// judge holds an answer against what was expected, or against the meaning of
// its status.
func (w *writer) judge(answer *http.Response, text []byte) verdict {
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
		return w.items(status, text)
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
		err = fmt.Errorf("%w; redirects are not followed: set url to %q", err, answer.Header.Get("Location"))
		return verdict{err: stage.Fatal(err), away: true}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return verdict{err: stage.Fatal(fmt.Errorf("%w; check basic, bearer or the headers that log in", err)), away: true}
	case status == http.StatusNotFound:
		return verdict{err: stage.Fatal(fmt.Errorf("%w; check the path of url", err)), away: true}
	default:
		return verdict{err: stage.Fatal(err), away: true}
	}
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

// items finds the events that failed in a request that succeeded as a whole.
func (w *writer) items(status int, text []byte) verdict {
	if w.cfg.Format == formatSingle {
		return verdict{}
	}
	if len(text) == maxAnswer {
		return verdict{err: stage.Bad(fmt.Errorf("%s answered %d with more than %v, too long to say of which events; send fewer at once",
			w.place, status, stage.Size(maxAnswer)))}
	}
	found, err := parseItems(text)
	switch {
	case errors.Is(err, errNoItems) && status == http.StatusMultiStatus:
		return verdict{err: stage.Fatal(fmt.Errorf("%s answered 207, some events failed, in a form that is not understood: %s",
			w.place, firstLine(text)))}
	case errors.Is(err, errNoItems):
		return verdict{}
	case err != nil:
		// Nobody knows which: the halves are sent until it is one.
		return verdict{err: stage.Bad(fmt.Errorf("%s answered %d: %w", w.place, status, err))}
	}
	return verdict{items: found}
}

var errNoItems = errors.New("the answer says nothing of single events")

// itemAnswer is one event in an answer.
type itemAnswer struct {
	Index   *int            `json:"index"`
	Status  json.RawMessage `json:"status"`
	Reason  string          `json:"reason"`
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
}

// parseItems reads the forms in which services answer for single events:
//
//	{"failed": [{"index": 3, "reason": "…"}]}           only those that failed;
//	{"failed": 1, "failures": [{"index": 3, …}]}        also named errors
//	[{"status": 202}, {"status": 400, "error": "…"}]    all, in order; also
//	{"results": [{"status": 202}, …]}                   below results or items
//
// A number of failures without a list is an error.
func parseItems(text []byte) ([]item, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, errNoItems
	}
	if text[0] == '[' {
		return everyItem(text)
	}
	var lists struct{ Failed, Failures, Errors, Results, Items json.RawMessage }
	if json.Unmarshal(text, &lists) != nil {
		return nil, errNoItems
	}
	for _, list := range []json.RawMessage{lists.Failed, lists.Failures, lists.Errors} {
		var failed []itemAnswer
		if isList(list) && json.Unmarshal(list, &failed) == nil {
			return failures(failed)
		}
	}
	for _, list := range []json.RawMessage{lists.Results, lists.Items} {
		if isList(list) {
			return everyItem(list)
		}
	}
	var n int
	if json.Unmarshal(lists.Failed, &n) != nil {
		return nil, errNoItems
	}
	if n != 0 {
		return nil, fmt.Errorf("%d events failed, and it does not say which: %s", n, firstLine(text))
	}
	return nil, nil
}

func isList(text json.RawMessage) bool { return len(text) > 0 && text[0] == '[' }

// failures are those of a list of what failed.
func failures(list []itemAnswer) ([]item, error) {
	out := make([]item, 0, len(list))
	for _, a := range list {
		if a.Index == nil || *a.Index < 0 {
			return nil, fmt.Errorf("%d events failed, and it does not say which", len(list))
		}
		out = append(out, item{index: *a.Index, reason: a.reason(), again: isWeather(a.status())})
	}
	return out, nil
}

// everyItem picks what failed out of a list of all.
func everyItem(text json.RawMessage) ([]item, error) {
	var list []itemAnswer
	if json.Unmarshal(text, &list) != nil {
		return nil, errNoItems
	}
	var out []item
	for i, a := range list {
		status := a.status()
		if status == 0 {
			return nil, errNoItems
		}
		if status < 300 {
			continue
		}
		if a.Index != nil && *a.Index >= 0 {
			i = *a.Index
		}
		out = append(out, item{index: i, reason: a.reason(), again: isWeather(status)})
	}
	return out, nil
}

func isWeather(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// status is the item's HTTP status, a number or a number as text; 0: none.
func (a *itemAnswer) status() int {
	n, _ := strconv.Atoi(strings.Trim(string(a.Status), `"`))
	return n
}

func (a *itemAnswer) reason() string {
	for _, text := range []string{a.Reason, strings.Trim(string(a.Error), `"`), a.Message, "status " + string(a.Status)} {
		if text != "" && text != "null" && text != "status " {
			return firstLine([]byte(text))
		}
	}
	return "no reason given"
}

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
