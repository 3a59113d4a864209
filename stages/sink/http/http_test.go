package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// rig is an opened sink and the service that it posts to.
type rig struct {
	*writer
	registry *prometheus.Registry

	mu       sync.Mutex
	requests []request
}

type request struct {
	header http.Header
	body   string
}

// open opens a sink whose service answers with `answer`, which may be called
// from many goroutines.
func open(t testing.TB, change func(*Config), answer http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.keep(req)
		answer(w, req)
	}))
	t.Cleanup(server.Close)
	r.openAt(t, server.URL+"/events?token=geheim", change)
	return r
}

func (r *rig) openAt(t testing.TB, url string, change func(*Config)) {
	t.Helper()
	cfg := Stage.New().(*Config)
	cfg.URL = url
	if change != nil {
		change(cfg)
	}
	var problems stage.Problems
	if cfg.Validate(&problems); len(problems.Found) > 0 {
		t.Fatal(problems.Found)
	}
	r.registry = prometheus.NewRegistry()
	opened, err := cfg.Open(t.Context(), stage.Settings{Metrics: r.registry, Clock: stagetest.NewClock(noon)})
	if err != nil {
		t.Fatal(err)
	}
	r.writer = opened.(*writer)
	t.Cleanup(func() { _ = r.Close(context.Background()) })
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func (r *rig) keep(req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request{req.Header.Clone(), string(body)})
	req.Body = io.NopCloser(bytes.NewReader(body))
}

func single(c *Config) { c.Format = formatSingle }

func with(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func batch(messages ...string) *event.Batch { return event.NewBatch(stagetest.Events(messages...)) }

func TestABatchIsOneRequest(t *testing.T) {
	for format, want := range map[string][2]string{
		formatArray:  {"application/json", `[{"id":`},
		formatNDJSON: {"application/x-ndjson", `{"id":`},
	} {
		r := open(t, func(c *Config) { c.Format = format }, with(202, ""))
		if err := r.Write(t.Context(), batch("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
		got := r.requests[0]
		if len(r.requests) != 1 || got.header.Get("Content-Type") != want[0] || !strings.HasPrefix(got.body, want[1]) {
			t.Errorf("%s: %d requests, the first is %v", format, len(r.requests), got)
		}
		if got.header.Get("Idempotency-Key") != "" {
			t.Errorf("%s: a request of three events has one's key", format)
		}
		if format == formatArray {
			var list []map[string]any
			if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list) != 3 || list[2]["message"] != "c" {
				t.Errorf("body %s: %v", got.body, err)
			}
		} else if lines := strings.Split(strings.TrimSpace(got.body), "\n"); len(lines) != 3 {
			t.Errorf("want 3 lines, got %q", got.body)
		}
	}
}

func TestAnEventByItselfCarriesItsIDAndTrace(t *testing.T) {
	r := open(t, single, with(202, ""))
	events := stagetest.Events("a", "b")
	events[0].TraceID, events[0].SpanID = strings.Repeat("4bf92f35", 4), "00f067aa0ba902b7"
	if err := r.Write(t.Context(), event.NewBatch(events)); err != nil {
		t.Fatal(err)
	}
	traces := map[string]string{}
	for _, req := range r.requests {
		traces[req.header.Get("Idempotency-Key")] = req.header.Get("Traceparent")
	}
	want := "00-" + events[0].TraceID + "-" + events[0].SpanID + "-01"
	if len(traces) != 2 || traces[events[0].ID.String()] != want || traces[events[1].ID.String()] != "" {
		t.Errorf("got %v", traces)
	}
}

func TestABatchCarriesTheTraceThatAllItsEventsShare(t *testing.T) {
	for _, other := range []string{"00000000000000000000000000000001", "00000000000000000000000000000002", ""} {
		r := open(t, nil, with(202, ""))
		events := stagetest.Events("a", "b")
		events[0].TraceID, events[0].SpanID = "00000000000000000000000000000001", "00f067aa0ba902b7"
		events[1].TraceID, events[1].SpanID = other, "00f067aa0ba902b8"
		if err := r.Write(t.Context(), event.NewBatch(events)); err != nil {
			t.Fatal(err)
		}
		got := r.requests[0].header.Get("Traceparent")
		if shared := other == events[0].TraceID; shared != (got != "") {
			t.Errorf("the other event's trace is %q, and the header %q", other, got)
		}
	}
}

func TestLoginAndHeaders(t *testing.T) {
	r := open(t, func(c *Config) {
		c.Headers = map[string]stage.Secret{"x-api-key": "k1", "Host": "logs.example"}
		c.Basic = &Basic{User: "user", Password: "pass"}
	}, func(w http.ResponseWriter, req *http.Request) {
		if req.Host != "logs.example" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	if err := r.Write(t.Context(), batch("a")); err != nil {
		t.Fatal(err)
	}
	h := r.requests[0].header
	if h.Get("X-Api-Key") != "k1" || h.Get("Authorization") != "Basic dXNlcjpwYXNz" {
		t.Errorf("got %v", h)
	}
	r = open(t, func(c *Config) { c.Bearer = "t0ken" }, with(200, ""))
	if err := r.Write(t.Context(), batch("a")); err != nil || r.requests[0].header.Get("Authorization") != "Bearer t0ken" {
		t.Errorf("%v, %v", err, r.requests[0].header)
	}
}

func TestGzip(t *testing.T) {
	for _, format := range []string{formatArray, formatSingle} {
		r := open(t, func(c *Config) { c.Format, c.Compression = format, "gzip" }, with(200, ""))
		if err := r.Write(t.Context(), batch("the first", "the second")); err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, req := range r.requests {
			z, err := gzip.NewReader(strings.NewReader(req.body))
			if err != nil || req.header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("%v, %v", err, req.header)
			}
			text, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			all += string(text)
		}
		if !strings.Contains(all, "the first") || !strings.Contains(all, "the second") {
			t.Errorf("%s: got %s", format, all)
		}
	}
}

func TestTheClassOfEachAnswer(t *testing.T) {
	for status, want := range map[int]stage.Class{
		200: stage.OK, 201: stage.OK, 202: stage.OK, 204: stage.OK,
		301: stage.Unfixable, 302: stage.Unfixable, 307: stage.Unfixable,
		400: stage.BadEvent, 409: stage.BadEvent, 413: stage.BadEvent, 422: stage.BadEvent,
		401: stage.Unfixable, 403: stage.Unfixable, 404: stage.Unfixable, 405: stage.Unfixable, 415: stage.Unfixable,
		408: stage.Retryable, 425: stage.Retryable, 429: stage.Retryable,
		500: stage.Retryable, 502: stage.Retryable, 503: stage.Retryable, 504: stage.Retryable,
	} {
		r := open(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/?token=geheim")
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				_, _ = io.WriteString(w, "because of the weather\nand more")
			}
		})
		b := batch("a", "b")
		err := r.Write(t.Context(), b)
		if got := stage.ClassOf(err); got != want || b.Count(event.Open) != 2 {
			t.Errorf("%d is %v, want %v; %d open: %v", status, got, want, b.Count(event.Open), err)
		}
		if err == nil {
			continue
		}
		text := err.Error()
		if !strings.Contains(text, "because of the weather") || !strings.Contains(text, fmt.Sprint(status)) || strings.Contains(text, "more") {
			t.Errorf("want the status and the first line of the answer, got %q", text)
		}
		if strings.Contains(text, "geheim") {
			t.Errorf("the query is shown: %q", text)
		}
		if len(r.requests) != 1 {
			t.Errorf("%d: %d requests were sent", status, len(r.requests))
		}
		if status/100 == 3 && !strings.Contains(text, "elsewhere.example") {
			t.Errorf("want where it moved to, got %q", text)
		}
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, noon.Add(time.Minute).Format(http.TimeFormat): time.Minute, "": 0, "soon": 0, "-3": 0,
		"99999999": time.Hour, noon.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		r := open(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		if got := stage.RetryAfter(r.Write(t.Context(), batch("a"))); got != want {
			t.Errorf("Retry-After: %s: wait %v, want %v", text, got, want)
		}
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(with(200, ""))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	r := &rig{}
	r.openAt(t, server.URL, nil)
	if err := r.Write(t.Context(), batch("a")); stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "tls.ca") {
		t.Errorf("want an error for a person that names tls.ca, got %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := &rig{}
	trusting.openAt(t, server.URL, func(c *Config) { c.TLS = &TLS{CA: stage.Path(ca)} })
	if err := trusting.Write(t.Context(), batch("a")); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"url", func(c *Config) { c.URL = "" }},
		{"url", func(c *Config) { c.URL = "logs.example/x" }},
		{"url", func(c *Config) { c.URL = "ftp://logs.example/x" }},
		{"url", func(c *Config) { c.URL = "https://user:geheim@logs.example/x" }},
		{"url", func(c *Config) { c.URL = "https://user:geheim%et@logs.example/x" }},
		{"url", func(c *Config) { c.URL = "htps://user:geheim@logs.example/x?token=geheim" }},
		{"url", func(c *Config) { c.URL = "logs.example/x?token=geheim" }},
		{"url", func(c *Config) { c.URL = "user:geheim@logs.example" }},
		{"url", func(c *Config) { c.URL = "https:///x?token=geheim" }},
		{"url", func(c *Config) { c.URL, c.Bearer = "http://logs.example/x", "geheim" }},
		{"method", func(c *Config) { c.Method = "GET" }},
		{"format", func(c *Config) { c.Format = "xml" }},
		{"compression", func(c *Config) { c.Compression = "zip" }},
		{"connections", func(c *Config) { c.Connections = 0 }},
		{"timeout", func(c *Config) { c.Timeout = 0 }},
		{"connect_timeout", func(c *Config) { c.ConnectTimeout = -1 }},
		{"basic.user", func(c *Config) { c.Basic = &Basic{} }},
		{"bearer", func(c *Config) { c.Basic, c.Bearer = &Basic{User: "u"}, "t" }},
		{"headers.content-length", func(c *Config) { c.Headers = map[string]stage.Secret{"content-length": "1"} }},
		{"headers.a b", func(c *Config) { c.Headers = map[string]stage.Secret{"a b": "geheim"} }},
		{"headers.x", func(c *Config) { c.Headers = map[string]stage.Secret{"x": "a\r\ngeheim"} }},
		{"headers.authorization", func(c *Config) { c.Bearer, c.Headers = "t", map[string]stage.Secret{"authorization": "geheim"} }},
		{"tls", func(c *Config) { c.URL, c.TLS = "http://localhost/x", &TLS{} }},
		{"tls", func(c *Config) { c.TLS = &TLS{CA: "/nowhere/ca.pem"} }},
		{"tls.cert", func(c *Config) { c.TLS = &TLS{Cert: "a.pem"} }},
		{"tls.insecure", func(c *Config) { c.TLS = &TLS{Insecure: true} }},
		{"expect.status", func(c *Config) { c.Expect = &Expect{Status: 42} }},
	} {
		c := Stage.New().(*Config)
		c.URL = "https://logs.example/api/logs"
		test.change(c)
		var p stage.Problems
		c.Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != test.key {
			t.Errorf("%s: got %v", test.key, p.Found)
		}
		if shown := fmt.Sprint(p.Found, c.Explain(), c.Links()); strings.Contains(shown, "geheim") {
			t.Errorf("%s: a secret is shown: %s", test.key, shown)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, format := range []string{formatSingle, formatArray} {
		b.Run(format, func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			b.Cleanup(server.Close)
			r := &rig{}
			r.openAt(b, server.URL, func(c *Config) { c.Format, c.Connections = format, 50 })
			events := make([]string, 500)
			for i := range events {
				events[i] = fmt.Sprint("order ", i, " was paid")
			}
			batch := batch(events...)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Write(b.Context(), batch); err != nil || batch.FirstErr(event.Open) != nil {
					b.Fatal(err, batch.FirstErr(event.Open))
				}
			}
			b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
