package circuit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
)

// open makes a breaker: 50 % of the last 10, at least 5, open for 5s, 3 trials.
func open(t testing.TB, log io.Writer, change func(*Config)) *Breaker {
	t.Helper()
	c := Defaults()
	c.Window, c.MinCalls, c.OpenFor, c.HalfOpenCalls = Window{Calls: 10}, new(5), stage.Duration(5*time.Second), 3
	change(&c)
	b, err := New(c, stage.Settings{
		Pipeline: "shop", Route: "orders", Name: "guard", Instance: "host-1",
		Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// calls makes calls: "x" fails, "." succeeds, "i" is ignored.
func calls(t testing.TB, b *Breaker, results string) {
	t.Helper()
	for _, r := range results {
		p, err := b.Enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		b.Leave(p, map[rune]Result{'x': Failure, '.': Success, 'i': Ignored}[r])
	}
}

// ask asks the control API of a breaker.
func ask(b *Breaker, method, command string) (int, string, http.Header) {
	const path = "/api/v1/breakers/orders/guard"
	answer := httptest.NewRecorder()
	h := b.Control(path, About{Route: "orders", Name: "guard"})
	h.ServeHTTP(answer, httptest.NewRequest(method, path+command, nil))
	return answer.Code, answer.Body.String(), answer.Header()
}

func TestTheControlAPIShowsABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, io.Discard, func(c *Config) { c.SlowCallDuration = stage.Duration(time.Second) })
		calls(t, b, "...i")
		time.Sleep(time.Minute)
		p, _ := b.Enter(t.Context(), false)
		time.Sleep(2 * time.Second)
		b.Leave(p, Failure)
		calls(t, b, "xx")
		if _, err := b.Enter(t.Context(), false); !errors.Is(err, ErrOpen) {
			t.Fatal(err)
		}
		want := `{"route":"orders","name":"guard","state":"open","since":"2000-01-01T00:01:02Z","try_at":"2000-01-01T00:01:07Z","attempts":1,` +
			`"failure_rate":50,"slow_call_rate":16.666666,"window":{"calls":6,"failed":3,"slow":1,"slow_failed":1},"waiting":0,` +
			`"totals":{"successful":3,"failed":3,"ignored":1,"not_permitted":1}}`
		if code, body, header := ask(b, http.MethodGet, ""); code != http.StatusOK || body != want || header.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %v\n%s\nwant\n%s", code, header, body, want)
		}
		go func() { _, _ = b.Enter(t.Context(), true) }()
		synctest.Wait()
		if _, body, _ := ask(b, http.MethodGet, "/"); !strings.Contains(body, `"waiting":1`) {
			t.Errorf("one call waits: %s", body)
		}
		time.Sleep(time.Minute)
	})
}

func TestTheControlAPIChangesABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, io.Discard, func(*Config) {})
		for _, c := range []struct {
			method, command string
			code            int
			says            string
			state           State
		}{
			{"POST", "/open", 200, `"state":"open"`, Opened},
			{"POST", "/close", 200, `"state":"closed"`, Closed},
			{"POST", "/forced_open", 200, `"state":"forced_open"`, ForcedOpen},
			{"POST", "/reset", 200, `"state":"closed"`, Closed},
			{"POST", "/disable", 200, `"state":"disabled"`, Disabled},
			{"POST", "/metrics_only", 200, `"state":"metrics_only"`, MetricsOnly},
			{"POST", "/open", 409, "cannot go from metrics_only to open; close it first", MetricsOnly},
			{"GET", "/close", 405, "the method must be POST, got GET", MetricsOnly},
			{"DELETE", "", 405, "the method must be GET, HEAD, got DELETE", MetricsOnly},
			{"POST", "/explode", 404, `there is no command \"explode\"; there are open, forced_open`, MetricsOnly},
			{"POST", "/close/", 200, `"state":"closed"`, Closed},
		} {
			code, body, header := ask(b, c.method, c.command)
			if code != c.code || !strings.Contains(body, c.says) || b.Look().State != c.state {
				t.Errorf("%s %s: %d %s, the breaker is %v", c.method, c.command, code, body, b.Look().State)
			}
			if (code == 405) != (header.Get("Allow") != "") {
				t.Errorf("%s %s: %d with Allow: %q", c.method, c.command, code, header.Get("Allow"))
			}
		}
	})
}

func TestOpenByHandTriesAgainForcedOpenDoesNot(t *testing.T) {
	for command, opens := range map[string]bool{"/open": true, "/forced_open": false} {
		synctest.Test(t, func(t *testing.T) {
			b := open(t, io.Discard, func(*Config) {})
			ask(b, http.MethodPost, command)
			time.Sleep(time.Hour)
			if _, err := b.Enter(t.Context(), false); (err == nil) != opens {
				t.Errorf("%s, an hour later: %v", command, err)
			}
		})
	}
}

func TestHalfOpenEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, io.Discard, func(c *Config) {
			c.Automatic, c.HalfOpenFor, c.OpenMultiplier, c.OpenMax = true, stage.Duration(2*time.Second), 2, stage.Duration(time.Hour)
		})
		began := time.Now()
		calls(t, b, "xxxxx")
		for _, want := range []struct {
			at    time.Duration
			state State
		}{{5, HalfOpen}, {7, Opened}, {17, HalfOpen}, {19, Opened}, {39, HalfOpen}} {
			time.Sleep(want.at*time.Second - time.Since(began) - 1)
			if b.Look().State == want.state {
				t.Errorf("%v too early", want)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := b.Look(); got.State != want.state || !got.Since.Equal(began.Add(want.at*time.Second)) {
				t.Errorf("%v: is %v since %v", want, got.State, got.Since.Sub(began))
			}
		}
	})
}

func TestBeginningAStateAnewSetsItsTimerAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, io.Discard, func(c *Config) { c.Automatic = true })
		calls(t, b, "xxxxx")
		time.Sleep(4 * time.Second)
		ask(b, http.MethodPost, "/open")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if s := b.Look().State; s != Opened {
			t.Errorf("4s after it was opened anew it is %v", s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := b.Look().State; s != HalfOpen {
			t.Errorf("after 5s it is %v", s)
		}
	})
}

// hook is a webhook's other end.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []transition
	status int
	delay  chan struct{}
	got    chan struct{}
}

func serveHook(t *testing.T) *hook {
	h := &hook{status: http.StatusNoContent, got: make(chan struct{}, 1000)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.delay != nil {
			<-h.delay
		}
		var body transition
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %v: %v", r.Method, r.Header, err)
		}
		h.mu.Lock()
		h.bodies = append(h.bodies, body)
		w.WriteHeader(h.status)
		h.mu.Unlock()
		h.got <- struct{}{}
	}))
	t.Cleanup(h.Close)
	return h
}

func TestTheWebhookIsToldOfEachChange(t *testing.T) {
	h := serveHook(t)
	var log bytes.Buffer
	b := open(t, &log, func(c *Config) { c.Webhook = stage.Secret(h.URL + "/T0K3N") })
	calls(t, b, "x.xxx")
	b.Reset()
	<-h.got
	<-h.got
	h.mu.Lock()
	defer h.mu.Unlock()
	first, second := h.bodies[0], h.bodies[1]
	if first.Time.IsZero() || second.Time.Before(first.Time) {
		t.Errorf("told at %v and %v", first.Time, second.Time)
	}
	first.Time = time.Time{}
	want := transition{
		Pipeline: "shop", Route: "orders", Breaker: "guard", Instance: "host-1", From: "closed", To: "open",
		Why: "too large a share of calls failed", FailureRate: 80, SlowCallRate: 0, Calls: 5,
	}
	if first != want || second.From != "open" || second.To != "closed" || second.Why != "by hand" {
		t.Errorf("told %+v\nand %+v", first, second)
	}
}

func TestAWebhookThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	h := serveHook(t)
	h.delay = make(chan struct{})
	defer close(h.delay)
	var log lines
	b := open(t, &log, func(c *Config) { c.Webhook = stage.Secret(h.URL + "/T0K3N") })
	for range hookQueue + 10 { // the first is on its way, the queue is full, the rest is not told
		calls(t, b, "xxxxx")
		b.Reset()
	}
	if n := strings.Count(log.String(), "the webhook is too slow"); n < hookQueue {
		t.Errorf("%d changes were not told", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWebhookErrorsDoNotShowTheAddress(t *testing.T) {
	failing, moved := serveHook(t), serveHook(t)
	failing.status = http.StatusInternalServerError
	moved.status = http.StatusFound
	for address, want := range map[string]string{
		failing.URL + "/T0K3N":             "500 Internal Server Error",
		moved.URL + "/T0K3N":               "302 Found",
		"http://127.0.0.1:1/T0K3N":         "connection refused",
		"http://T0K3N:T0K3N@127.0.0.1:1/x": "connection refused",
	} {
		var log lines
		b := open(t, &log, func(c *Config) { c.Webhook = stage.Secret(address) })
		if err := b.hook.post(transition{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "T0K3N") {
			t.Errorf("got %v, want %s without the address", err, want)
		}
	}
}

// lines is a log that may be written from several goroutines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
