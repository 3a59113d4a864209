package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// item is one event of a request that failed.
type item struct {
	index  int
	reason string
	again  bool // trying again may help
}

// items finds the events that failed in a request that succeeded as a whole.
// The request was of n events.
func (w *writer) items(status int, text []byte, n int) verdict {
	if w.cfg.Format == formatSingle {
		return verdict{}
	}
	if len(text) == maxAnswer {
		return w.doubt(status, fmt.Errorf("an answer of more than %v is too long to say of which events; send fewer at once", stage.Size(maxAnswer)))
	}
	found, err := parseItems(text, n)
	switch {
	case errors.Is(err, errNoItems) && status == http.StatusMultiStatus:
		return verdict{err: stage.Fatal(fmt.Errorf("%s answered 207, some events failed, in a form that is not understood: %s",
			w.place, firstLine(text)))}
	case errors.Is(err, errNoItems):
		return verdict{}
	case err != nil:
		return w.doubt(status, err)
	}
	return verdict{items: found}
}

// doubt is for an answer by which some events failed, and nobody knows which:
// the halves are sent until it is one, though the service then gets again what
// it took.
func (w *writer) doubt(status int, why error) verdict {
	err := fmt.Errorf("%s answered %d: %w", w.place, status, why)
	return verdict{err: stage.Bad(err), taken: w.cfg.strict()}
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

// parseItems reads the forms in which services answer for each of n events:
//
//	{"failed": [{"index": 3, "reason": "…"}]}           only those that failed;
//	{"failed": 1, "failures": [{"index": 3, …}]}        also named errors
//	[{"status": 202}, {"status": 400, "error": "…"}]    all, in order; also
//	{"results": [{"status": 202}, …]}                   below results or items
//
// It is an error when more failed than are listed (some services cut a long
// list), or when a list of all is not one of all that were sent: what is not
// named must not be taken for delivered.
func parseItems(text []byte, n int) ([]item, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, errNoItems
	}
	if text[0] == '[' {
		return everyItem(text, n)
	}
	var lists struct{ Failed, Failures, Errors, Results, Items json.RawMessage }
	if json.Unmarshal(text, &lists) != nil {
		return nil, errNoItems
	}
	found, err := failures(lists.Failed, lists.Failures, lists.Errors)
	if errors.Is(err, errNoItems) {
		found, err = everyItem(lists.Results, n)
	}
	if errors.Is(err, errNoItems) {
		found, err = everyItem(lists.Items, n)
	}
	var failed *int
	if json.Unmarshal(lists.Failed, &failed) != nil || failed == nil || err != nil && !errors.Is(err, errNoItems) {
		return found, err
	}
	if named := distinct(found); *failed > named && named < n {
		return nil, fmt.Errorf("%d events failed, and it says of %d which: %s", *failed, named, firstLine(text))
	}
	return found, nil
}

// distinct is how many events the items are about.
func distinct(items []item) int {
	seen := make(map[int]struct{}, len(items))
	for _, i := range items {
		seen[i.index] = struct{}{}
	}
	return len(seen)
}

// failures are what the first list of failures holds that is not empty.
func failures(lists ...json.RawMessage) ([]item, error) {
	var out []item
	err := errNoItems
	for _, text := range lists {
		var list []itemAnswer
		if !isList(text) || json.Unmarshal(text, &list) != nil {
			continue
		}
		for _, a := range list {
			if a.Index == nil || *a.Index < 0 {
				return nil, fmt.Errorf("%d events failed, and it does not say which", len(list))
			}
			out = append(out, item{index: *a.Index, reason: a.reason(), again: isWeather(a.status())})
		}
		if err = nil; len(out) > 0 {
			break
		}
	}
	return out, err
}

func isList(text json.RawMessage) bool { return len(text) > 0 && text[0] == '[' }

// everyItem picks what failed out of a list of all n events.
func everyItem(text json.RawMessage, n int) ([]item, error) {
	var list []itemAnswer
	if !isList(text) || json.Unmarshal(text, &list) != nil {
		return nil, errNoItems
	}
	all := make([]item, 0, len(list))
	var out []item
	for i, a := range list {
		status := a.status()
		if status == 0 {
			continue
		}
		if a.Index != nil && *a.Index >= 0 {
			i = *a.Index
		}
		all = append(all, item{index: i})
		if status >= 300 {
			out = append(out, item{index: i, reason: a.reason(), again: isWeather(status)})
		}
	}
	switch {
	case len(all) == 0:
		return nil, errNoItems
	case len(list) != n || distinct(all) != n:
		return nil, fmt.Errorf("it lists %d events of %d that were sent: %s", distinct(all), n, firstLine(text))
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
