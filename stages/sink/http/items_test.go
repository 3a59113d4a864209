package http

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"millrace/engine/chain"
	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestEventsThatTheAnswerNamesAreNotDelivered(t *testing.T) {
	for _, test := range []struct {
		name, answer  string
		status        int
		refused, open string // their messages
	}{
		{"a list of what failed", `{"accepted":2,"failed":[{"index":1,"reason":"no source"}]}`, 202, "b", "ac"},
		{"a number, and a list beside it", `{"accepted":1,"failed":2,"failures":[{"index":0,"reason":"x"},{"index":2,"reason":"y"}]}`, 202, "ac", "b"},
		{"nothing failed", `{"accepted":3,"failed":0,"timestamp":"2026-01-02T12:00:00Z"}`, 202, "", "abc"},
		{"an empty list", `{"accepted":3,"failed":[]}`, 202, "", "abc"},
		{"a list, and more of it elsewhere", `{"failures":[],"errors":[{"index":1,"reason":"x"}]}`, 202, "b", "ac"},
		{"more reasons than events", `{"failed":1,"errors":[{"index":1,"reason":"x"},{"index":1,"reason":"y"}]}`, 202, "b", "ac"},
		{"no event, in a list of all", `{"status":"ok","results":[]}`, 200, "", "abc"},
		{"all, in order", `[{"status":202},{"status":202},{"status":"400","error":"too old"}]`, 207, "c", "ab"},
		{"all, below results", `{"results":[{"status":422,"message":"x"},{"status":200},{"status":200}]}`, 207, "a", "bc"},
		{"no JSON", "thank you", 200, "", "abc"},
		{"JSON about something else", `{"status":"ok","errors":false}`, 200, "", "abc"},
	} {
		r := open(t, nil, with(test.status, test.answer))
		b := batch("a", "b", "c")
		if err := r.Write(t.Context(), b); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		var refused, open string
		for row, e := range b.All() {
			if b.Outcome(row) == event.Refused {
				refused += e.Message
			} else if b.Err(row) == nil {
				open += e.Message
			}
		}
		if refused != test.refused || open != test.open {
			t.Errorf("%s: refused %q, delivered %q", test.name, refused, open)
		}
	}
}

func TestAnEventThatFailedForTheWeatherIsTriedAgain(t *testing.T) {
	r := open(t, nil, with(207, `[{"status":200},{"status":503,"error":"busy"}]`))
	b := batch("a", "b")
	if err := r.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Err(0) != nil || b.Outcome(1) != event.Open || stage.ClassOf(b.Err(1)) != stage.Retryable {
		t.Errorf("%v; %v, %v", b.Err(0), b.Outcome(1), b.Err(1))
	}
}

func TestAnAnswerThatLeavesEventsInDoubtIsNotTakenForSuccess(t *testing.T) {
	for answer, want := range map[string]stage.Class{
		`{"accepted":2,"failed":1}`:                                                 stage.BadEvent,  // the halves tell
		`{"failed":[{"reason":"x"}]}`:                                               stage.BadEvent,  // without an index
		`{"failed":[{"index":9,"reason":"x"}]}`:                                     stage.Unfixable, // of two
		`{"failed":[{"index":-1,"reason":"x"}]}`:                                    stage.BadEvent,
		`{"failed":2,"errors":[{"index":0}]}`:                                       stage.BadEvent, // a list that was cut
		`{"failed":2,"errors":[{"index":0,"reason":"x"},{"index":0,"reason":"y"}]}`: stage.BadEvent, // two reasons for one
		`{"failed":1,"results":[{"status":202},{"status":202}]}`:                    stage.BadEvent,
		`[{"status":202}]`:                                                          stage.BadEvent, // one for two
		`{"items":[{"status":202},{"status":202},{"status":202}]}`:                  stage.BadEvent,
		`[{"status":202,"index":1},{"status":202,"index":1}]`:                       stage.BadEvent,
		`[{"status":202},{"error":"no source"}]`:                                    stage.BadEvent,
		"<multistatus/>":                                                            stage.Unfixable,
		`{"x":"` + strings.Repeat("x", maxAnswer) + `"}`:                            stage.BadEvent,
	} {
		r := open(t, nil, with(207, answer))
		if err := r.Write(t.Context(), batch("a", "b")); stage.ClassOf(err) != want {
			t.Errorf("%.60s: %v, want %v: %v", answer, stage.ClassOf(err), want, err)
		}
	}
}

// Whatever a service answers, nothing panics, and no event is named twice over
// what an error can hold.
func FuzzParseItems(f *testing.F) {
	for _, seed := range []string{`{"failed":[{"index":1,"reason":"x"}]}`, `[{"status":"400"}]`, `{"failed":3}`, `{"results":[{"status":500}]}`,
		`{"failed":[{"index":-1}]}`, "[", `[1]`, `{"failed":{"a":1}}`, "\xff", `[{"status":202,"index":7}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		items, _ := parseItems(text, 3)
		for _, i := range items {
			if i.index < 0 || i.reason == "" || len([]rune(i.reason)) > maxLine+1 || strings.ContainsAny(i.reason, "\r\n") {
				t.Errorf("%q: %+v", text, i)
			}
		}
	})
}

// A service that names only the first few that failed is asked again with
// fewer, until it has named all: none is taken for delivered.
func TestAListOfFailuresThatWasCutIsAskedForInHalves(t *testing.T) {
	const most = 3
	taken := map[string]int{}
	r := open(t, nil, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var list []struct{ Message string }
		if err := json.Unmarshal(body, &list); err != nil {
			t.Error(err)
		}
		failed, named := 0, []string{}
		for i, e := range list {
			if !strings.HasPrefix(e.Message, "bad") {
				taken[e.Message]++
			} else if failed++; len(named) < most {
				named = append(named, fmt.Sprintf(`{"index":%d,"reason":"bad"}`, i))
			}
		}
		_, _ = fmt.Fprintf(w, `{"failed":%d,"errors":[%s]}`, failed, strings.Join(named, ","))
	})
	var messages []string
	for i := range 40 {
		messages = append(messages, fmt.Sprint([]string{"good", "bad", "bad", "bad"}[i/10], " ", i))
	}
	b := batch(messages...)
	_, err := chain.Sink(r)(stage.Message(t.Context(), b))
	if stage.ClassOf(err) != stage.BadEvent {
		t.Errorf("want an error that says that some are bad, got %v", err)
	}
	for row, e := range b.All() {
		want := event.Delivered
		if row >= 10 {
			want = event.Refused
		}
		if b.Outcome(row) != want || want == event.Delivered && taken[e.Message] == 0 {
			t.Errorf("%s is %v, and came %d times", e.Message, b.Outcome(row), taken[e.Message])
		}
	}
}

// With strict nothing is sent again, also when nobody knows what failed.
func TestStrictDoesNotAskInHalves(t *testing.T) {
	r := open(t, func(c *Config) { c.Expect = &Expect{Strict: true} }, with(202, `{"failed":1}`))
	b := batch("a", "b")
	if _, err := chain.Sink(r)(stage.Message(t.Context(), b)); stage.ClassOf(err) != stage.BadEvent || b.Count(event.Refused) != 2 || len(r.requests) != 1 {
		t.Errorf("%d requests, %d refused: %v", len(r.requests), b.Count(event.Refused), err)
	}
}
