package http

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

const (
	anID   = `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	aTime  = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
	withID = `{"id":"0192f0c1-2345-7abc-8def-0123456789ab","organizationId":"acme","source":"shop","level":"INFO","message":"hello"}`
)

func day1(c *Config) { c.Respond = respondDay1 }

func (a answer) matches(t testing.TB, status int, pattern string) {
	t.Helper()
	if a.StatusCode != status || !regexp.MustCompile("^"+pattern+"$").MatchString(a.body) {
		t.Errorf("got  %d %s\nwant %d %s", a.StatusCode, a.body, status, pattern)
	}
}

func TestClientsOfDay1GetTheAnswersTheyKnow(t *testing.T) {
	b := start(t, day1)
	b.post("/api/logs", withID).want(t, 200, `{"status":"success","id":"0192f0c1-2345-7abc-8def-0123456789ab","message":"Log event queued for processing"}`)
	b.post("/api/logs", day1Hello).matches(t, 200, `{"status":"success","id":"`+anID+`","message":"Log event queued for processing"}`)
	b.get("/api/logs/health").want(t, 200, `{"status":"healthy"}`)
	b.fate(func(p event.Parcel) {
		p.Done(receiptOf(p, event.Rejected, stage.Throttled(fmt.Errorf("%w (OPEN)", circuit.ErrOpen), 3*time.Second)))
	})
	a := b.post("/api/logs", day1Hello)
	a.want(t, 503, `{"status":"service_unavailable","message":"Log processing temporarily unavailable"}`)
	if got := a.Header.Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After %q, want when the breaker tries again: 3", got)
	}
}

func TestClientsOfDay32GetTheAnswersTheyKnow(t *testing.T) {
	b := start(t, nil)
	b.post("/api/logs", withID).matches(t, 202, `{"eventId":"0192f0c1-2345-7abc-8def-0123456789ab","status":"Accepted","timestamp":"`+aTime+`"}`)
	b.post("/api/logs", `{"source":"shop","level":"warn","message":"hi","metadata":{"a":1},"stackTrace":"at x","hostname":"h","correlationId":"c"}`).
		matches(t, 202, `{"eventId":"`+anID+`","status":"Accepted","timestamp":"`+aTime+`"}`)
	e := b.got()[1]
	if e.Host != "h" || e.CorrelationID != "c" || e.StackTrace != "at x" || e.Level != event.LevelWarn || e.Time.IsZero() || e.Due == 0 {
		t.Errorf("the event is %+v", e)
	}
	b.post("/api/logs/batch", "["+hello+","+hello+"]").matches(t, 202, `{"accepted":2,"failed":0,"timestamp":"`+aTime+`"}`)
	b.post("/api/logs/batch", "[]").matches(t, 202, `{"accepted":0,"failed":0,"timestamp":"`+aTime+`"}`)
	b.get("/api/logs").want(t, 200, `{"name":"test.route","singleEndpoint":"/api/logs","batchEndpoint":"/api/logs/batch",`+
		`"healthEndpoint":"/api/logs/health","metrics":"/actuator/prometheus"}`)
}

func TestTheHealthAnswerHoldsTrueNumbersAndWritesNothing(t *testing.T) {
	b := start(t, nil)
	for range 3 {
		b.post("/api/logs", hello)
	}
	b.post("/api/logs", `{"level":"INFO"}`)
	b.fate(func(p event.Parcel) { p.Done(receiptOf(p, event.Poisoned, errors.New("no such column"))) })
	b.post("/api/logs", hello)
	b.fate(func(p event.Parcel) {
		p.Done(receiptOf(p, event.Rejected, stage.Throttled(errors.New("over the limit"), time.Second)))
	})
	b.post("/api/logs", hello).says(t, 429) // a limit that does its work: no failure
	before := len(b.got())
	a := b.get("/api/logs/health")
	a.matches(t, 200, `{"status":"UP","metrics":{"messagesSent":3,"messagesFailed":2,"avgSendDuration":[0-9.]+}}`)
	if len(b.got()) != before {
		t.Error("a look at the health made an event")
	}
	var body struct {
		Metrics struct{ AvgSendDuration float64 }
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Metrics.AvgSendDuration <= 0 {
		t.Errorf("avgSendDuration is %v (%v)", body.Metrics.AvgSendDuration, err)
	}
}

func TestAnAnswerOfOnesOwn(t *testing.T) {
	b := start(t, func(c *Config) {
		c.Respond, c.Status = `{"ok": {{accepted}}, "bad": {{ failed }}, "id": "{{id}}", "at": "{{timestamp}}", "why": {{errors}}}`, 201
	})
	b.post("/api/logs", `{"id":"order \"7\""}`).matches(t, 201, `{"ok": 1, "bad": 0, "id": "order \\"7\\"", "at": "`+aTime+`", "why": \[\]}`)
	b.post("/api/logs", `[{"id":"a"},{"level":"x"}]`).says(t, 201, `"ok": 1, "bad": 1, "id": "a"`, `"why": [{"index":1,"field":"level"`)
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	b := start(t, nil)
	for body, want := range map[string]string{
		`{"source":" ","level":"INFO","message":"m"}`:                                  `"field":"source"`,
		`{"source":"s","level":"INFO"}`:                                                `"field":"message"`,
		`{"source":"s","level":null,"message":"m"}`:                                    `"field":"level"`,
		`{"source":"s","level":"LOUD","message":"m"}`:                                  `unknown level \"LOUD\"`,
		`{"source":"s","level":3,"message":"m"}`:                                       `level: want text, got a number`,
		`{"source":["s"],"level":"INFO","message":"m"}`:                                `"field":"source"`,
		`{"source":"s","level":"INFO","message":"m","timestamp":"yesterday"}`:          `"field":"timestamp"`,
		`{"source":"s","level":"INFO","message":"m","timestamp":99999999999999999999}`: `"field":"timestamp"`,
		`{"source":"s","level":"INFO","message":"m","metadata":[1]}`:                   `"field":"metadata"`,
		`{"source":"s","level":"INFO","message":"m","n":1e999}`:                        `"field":"n"`,
		`{"source":"s"`: `malformed`,
		``:              `the JSON ends too early`,
		`7`:             `want a JSON object, got a number`,
		hello + hello:   `something follows the JSON object`,
		`{"source":"s","level":"INFO","message":"m","deep":` + strings.Repeat("[", 100_000) + `}`: `nested deeper than`,
	} {
		b.post("/api/logs", body).says(t, 400, `"status":"error"`, want)
	}
	b.post("/api/logs/batch", hello).says(t, 400, "want a JSON array, got an object")
	b.post("/api/logs/batch", "["+hello+",{]").says(t, 400, "malformed")
	b.post("/api/logs", hello, "Content-Encoding", "br").says(t, 415, "Content-Encoding must be gzip")
	b.post("/api/logs", hello, "Content-Encoding", "gzip").says(t, 400, `"field":"Content-Encoding"`)
	b.post("/api/logs", hello, "Idempotency-Key", strings.Repeat("k", 256)).says(t, 400, `"field":"Idempotency-Key"`)
	b.post("/nowhere", hello).says(t, 404, "/api/logs/batch")
	a := b.do(http.MethodDelete, "/api/logs", nil)
	a.says(t, 405, "POST")
	if a.Header.Get("Allow") != "POST, GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %q", a.Header.Get("Allow"))
	}
	if n := len(b.got()); n != 0 {
		t.Errorf("%d events came of all that", n)
	}
}

func TestWhatIsOddButDefinedIsTaken(t *testing.T) {
	b := start(t, nil)
	for _, body := range []string{
		`{"source":"a","source":"s","level":"INFO","message":"m"}`,                              // the last wins
		"{\"source\":\"s\",\"level\":\"INFO\",\"message\":\"\xff\"}",                            // mended
		`{"source":"s","level":"INFO","message":"m","timestamp":"0001-01-01T00:00:00Z"}`,        // ancient
		`{"source":"s","level":"INFO","message":"m","timestamp":"9999-12-31T23:59:59Z"}`,        // far away
		`{"source":"s","level":"INFO","message":"m","n":123456789012345678901234567890}`,        // kept as text
		"\xef\xbb\xbf" + `{"source":"s","level":"INFO","message":"m"}`,                          // a byte order mark
		`{"source":"s","level":"INFO","message":"m","metadata":null,"timestamp":1772366400000}`, // milliseconds
	} {
		b.post("/api/logs", body).says(t, 202)
	}
	for i, e := range b.got() {
		if e.Source != "s" || e.Message != "m" && e.Message != "\uFFFD" {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}

func TestItemsOfABatchAreJudgedOneByOne(t *testing.T) {
	b := start(t, nil)
	want := `{"accepted":2,"failed":2,"timestamp":"` + aTime + `","errors":\[{"index":1,"field":"level","reason":"level: unknown level [^}]*},{"index":3,[^}]*}\]}`
	b.post("/api/logs/batch", `[`+hello+`,{"level":"x"},`+hello+`,17]`).matches(t, 202, want)
	b.post("/api/logs/batch", hello+"\n\n{\"level\":\"x\"}\r\n"+hello+"\n17", "Content-Type", "application/x-ndjson").matches(t, 202, want)
	for i, e := range b.got() {
		if e.Offset != int64(2*(i%2)) {
			t.Errorf("event %d says it was item %d", i, e.Offset)
		}
		if string(e.Raw) != hello {
			t.Errorf("event %d came as %s", i, e.Raw)
		}
	}
}

func TestPlainLinesAreMessages(t *testing.T) {
	b := start(t, func(c *Config) { c.Fields = map[string]string{"source": "header.X-Source"} })
	b.post("/api/logs", "one\r\n\n  two\n\xff", "Content-Type", "text/plain; charset=utf-8", "X-Source", "box").says(t, 202, `"accepted":3`)
	got := b.got()
	if len(got) != 3 || got[0].Message != "one" || got[1].Message != "  two" || got[2].Message != "\uFFFD" || got[0].Source != "box" {
		t.Errorf("events %+v", got)
	}
}

func TestEveryOutcomeHasItsAnswer(t *testing.T) {
	limited := stage.Throttled(errors.New("over the limit"), 1500*time.Millisecond)
	for _, c := range []struct {
		outcome event.Outcome
		err     error
		status  int
		retry   string
	}{
		{event.Delivered, nil, 202, ""},
		{event.Filtered, nil, 202, ""},
		{event.Poisoned, errors.New("secret table"), 422, ""},
		{event.Rejected, limited, 429, "2"},
		{event.Rejected, errors.New("spool full"), 503, "1"},
		{event.Rejected, nil, 503, "1"},
		{event.Shed, nil, 503, "1"},
		{event.Returned, nil, 503, "1"},
	} {
		t.Run(fmt.Sprint(c.outcome, c.status), func(t *testing.T) {
			b := start(t, nil)
			b.fate(func(p event.Parcel) { p.Done(receiptOf(p, c.outcome, c.err)) })
			a := b.post("/api/logs", hello)
			a.says(t, c.status)
			if got := a.Header.Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After %q, want %q", got, c.retry)
			}
			if strings.Contains(a.body, "secret") {
				t.Errorf("the client is told what is inside: %s", a.body)
			}
		})
	}
}

// A client that looks at nothing but the status must not lose an event.
func TestABatchThatWasTakenInPartIsToBeSentAgain(t *testing.T) {
	b := start(t, nil)
	b.fate(func(p event.Parcel) {
		r := event.Receipt{Exceptions: []event.Exception{{Index: 1, Outcome: event.Rejected, Err: stage.Throttled(errors.New("limit"), time.Second)}}}
		r.Counts[event.Delivered], r.Counts[event.Rejected] = 1, 1
		p.Done(r)
	})
	b.post("/api/logs/batch", `[{"level":"x"},`+hello+`,`+hello+`]`).matches(t, 429,
		`{"status":"rate_limited","message":"over the limit; send it again later","accepted":1,"failed":2,"timestamp":"`+aTime+`",`+
			`"errors":\[{"index":0,"field":"level",[^}]*},{"index":2,"reason":"over the limit; send it again later"}\]}`)
	b.fate(func(p event.Parcel) {
		r := event.Receipt{Exceptions: []event.Exception{{Index: 0, Outcome: event.Poisoned}}}
		r.Counts[event.Delivered], r.Counts[event.Poisoned] = 1, 1
		p.Done(r)
	})
	b.post("/api/logs/batch", `[`+hello+`,`+hello+`]`).says(t, 202, `"accepted":1,"failed":1`, `"index":0`)
}

func TestAnswersHaveALengthAndAType(t *testing.T) {
	b := start(t, nil)
	for _, a := range []answer{
		b.post("/api/logs", hello), b.post("/api/logs", "{"), b.get("/api/logs"), b.get("/api/logs/health"), b.get("/nowhere"),
		b.do(http.MethodDelete, "/api/logs", nil), b.post("/api/logs/batch", "["+strings.Repeat("7,", 5000)+"7]"),
	} {
		if a.ContentLength != int64(len(a.body)) || a.Header.Get("Content-Type") != "application/json" || len(a.TransferEncoding) > 0 {
			t.Errorf("%s: length %d of %d, type %q, %v", a.Request.URL, a.ContentLength, len(a.body), a.Header.Get("Content-Type"), a.TransferEncoding)
		}
	}
}

func TestAnOldClientKeepsItsConnection(t *testing.T) {
	b := start(t, nil)
	conn, err := net.Dial("tcp", b.src.listener.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprintf(conn, "POST /api/logs HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello)
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(a.Body); err != nil || a.StatusCode != 202 || a.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("%v %v %v", a.StatusCode, a.Header, err)
		}
	}
}

func TestTheSameKeyMakesTheSameIDs(t *testing.T) {
	b := start(t, nil)
	ids := func(body, key string) (list []string) {
		before := len(b.got())
		b.post("/api/logs/batch", body, "Idempotency-Key", key).says(t, 202)
		for _, e := range b.got()[before:] {
			list = append(list, e.ID.String())
		}
		return list
	}
	both := "[" + hello + "," + hello + "]"
	first, again, other := ids(both, "k1"), ids(both, "k1"), ids(both, "k2")
	if fmt.Sprint(first) != fmt.Sprint(again) || first[0] == first[1] || first[0] == other[0] {
		t.Errorf("k1 %v, k1 again %v, k2 %v", first, again, other)
	}
	// An item that is no event does not move the others.
	if part := ids(`[17,`+hello+`]`, "k1"); part[0] != first[1] {
		t.Errorf("the second item has id %s, was %s", part[0], first[1])
	}
	own := ids("["+withID+"]", "k1")
	if own[0] != "0192f0c1-2345-7abc-8def-0123456789ab" {
		t.Errorf("an event with an id of its own has %s", own[0])
	}
}

func TestATraceComesIn(t *testing.T) {
	b := start(t, nil)
	b.post("/api/logs", hello, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	b.post("/api/logs", hello, "Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")
	b.post("/api/logs", `{"source":"s","level":"INFO","message":"m","traceId":"mine"}`, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	got := b.got()
	if got[0].TraceID != "0af7651916cd43dd8448eb211c80319c" || got[0].SpanID != "b7ad6b7169203331" || got[1].TraceID != "" || got[2].TraceID != "mine" {
		t.Errorf("traces %q %q %q", got[0].TraceID, got[1].TraceID, got[2].TraceID)
	}
}

func TestCORS(t *testing.T) {
	b := start(t, func(c *Config) { c.CORS.Origins = []string{"https://app.example.org"} })
	a := b.do(http.MethodOptions, "/api/logs", nil, "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST")
	if a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example.org" ||
		!strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), "POST") || !strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "Content-Type") ||
		a.Header.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := b.post("/api/logs", hello, "Origin", "https://app.example.org"); a.Header.Get("Access-Control-Allow-Origin") == "" || a.StatusCode != 202 {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := b.do(http.MethodOptions, "/api/logs", nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page of another origin may: %v", a.Header)
	}
}
