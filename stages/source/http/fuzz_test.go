package http

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stagetest"
	"millrace/stages/internal/access"
)

var noOne access.Who

// quiet is a source without an address, whose bodies a test decodes itself.
func quiet(t testing.TB, change func(*Config)) *source {
	t.Helper()
	c := configured(change)
	s, err := newSource(c, stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// digest reads and decodes a body as post does.
func digest(s *source, format string, batch bool, header http.Header, body []byte) (*request, *refusal) {
	req := httptest.NewRequest(http.MethodPost, "/api/logs", bytes.NewReader(body))
	for name, values := range header {
		req.Header[name] = values
	}
	r := s.requests.Get().(*request)
	s.budget.take(perRequest)
	r.begin(time.Now())
	no := r.read(httptest.NewRecorder(), req)
	if no == nil {
		no = r.prepare(req, noOne, format)
	}
	if no == nil {
		no = r.decode(format, batch)
	}
	return r, no
}

// FuzzBody: whatever comes, it is understood or refused; nothing is made up,
// nothing is counted twice, and all room is given back.
func FuzzBody(f *testing.F) {
	s := quiet(f, func(c *Config) { c.MaxBody, c.MaxEvents, c.Required = 64<<10, 100, []string{} })
	formats := []string{formatJSON, formatNDJSON, formatLines}
	for _, body := range []string{
		hello, "[" + hello + ",17," + hello + "]", hello + "\n{}\r\n\n[]\nx", "[", "[]]", "[{},", "\x00", "\xef\xbb\xbf{}", strings.Repeat("[", 70), strings.Repeat("{}\n", 200),
		"\x1f\x8b", string(packed(f, strings.NewReader("["+hello+"]"))), `{"id":"x","original_id":"y"}`, "\x00a\n\x00", `{"a":"\ud800"}`, `[{"id":"` + strings.Repeat("x", 100) + `"}]`,
	} {
		for i := range formats {
			f.Add([]byte(body), uint8(i), i == 0, strings.HasPrefix(body, "\x1f"))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, format uint8, batch, gzipped bool) {
		header := http.Header{}
		if gzipped {
			header.Set("Content-Encoding", "gzip")
		}
		r, no := digest(s, formats[int(format)%len(formats)], batch, header, body)
		defer func() {
			r.release()
			if used := s.budget.used.Load(); used != 0 {
				t.Fatalf("%d bytes of room are not given back", used)
			}
		}()
		if no != nil {
			if no.status < 400 || no.reason == "" || !utf8.ValidString(no.reason) {
				t.Fatalf("refused with %+v", no)
			}
			return
		}
		if len(r.events)+len(r.failures) != r.items || r.items > 100 {
			t.Fatalf("%d events and %d failures of %d items", len(r.events), len(r.failures), r.items)
		}
		seen := map[int]bool{}
		for i := range r.events {
			e := &r.events[i]
			checkEvent(t, e)
			if !gzipped && !bytes.Contains(body, e.Raw) {
				t.Fatalf("raw %q is not in the body", e.Raw)
			}
			seen[r.itemOf(i)] = true
		}
		for _, x := range r.failures {
			if x.reason == "" || seen[x.item] || x.item >= r.items {
				t.Fatalf("failure %+v of %d items", x, r.items)
			}
			seen[x.item] = true
		}
		if len(seen) != r.items {
			t.Fatalf("%d of %d items are accounted for", len(seen), r.items)
		}
	})
}

func checkEvent(t *testing.T, e *event.Event) {
	t.Helper()
	if e.ID == uuid.Nil || e.Time.IsZero() && e.Due == 0 || e.Raw == nil {
		t.Fatalf("event %+v", e)
	}
	for _, text := range []string{e.Message, e.Source, e.Host, e.Organisation} {
		if !utf8.ValidString(text) {
			t.Fatalf("%q is no UTF-8", text)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.1", `for="[::1]:1"`)
	f.Add("[", "for")
	by := []proxies{
		newProxies(Proxies{Trusted: []string{"10.0.0.0/8"}, Header: headerXForwardedFor}),
		newProxies(Proxies{Trusted: []string{"10.0.0.0/8"}, Header: headerForwarded}),
	}
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		for _, p := range by {
			r := &http.Request{RemoteAddr: "10.1.1.1:1", Header: http.Header{headerXForwardedFor: {xff}, headerForwarded: {forwarded}}}
			if got := p.client(r); got == "" {
				t.Fatalf("nobody sent it: %q %q", xff, forwarded)
			}
			r.RemoteAddr = "203.0.113.1:1"
			if got := p.client(r); got != "203.0.113.1" {
				t.Fatalf("who is no proxy is believed: %s", got)
			}
		}
	})
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, header string) {
		trace, span := traceparent(header)
		if (trace == "") != (span == "") || trace != "" && (len(trace) != 32 || len(span) != 16 || !isHex(trace) || !isHex(span)) {
			t.Fatalf("%q is %q %q", header, trace, span)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{"id":"{{id}}"}`)
	f.Add(`{{ }}{{`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseTemplate(text)
		if err != nil {
			return
		}
		out := string(parsed.append(nil, &outcome{}))
		if !strings.Contains(text, "{{") && out != text {
			t.Fatalf("%q became %q", text, out)
		}
	})
}
