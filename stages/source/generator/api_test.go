package generator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
)

const base = "/api/v1/generator"

// served is an open generator and the handler of its API.
func served(t *testing.T, change ...func(*Config)) (*reader, http.Handler, prometheus.Gatherer) {
	t.Helper()
	mux := http.NewServeMux()
	s := settings(mux)
	registry := prometheus.NewRegistry()
	s.Metrics = registry
	r, err := config(append(change, func(c *Config) { c.API = base })...).Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r.(*reader), mux, registry
}

func request(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, base+path, nil))
	return w
}

func TestAnswersOfTheAPI(t *testing.T) {
	_, h, _ := served(t, func(c *Config) { c.Start = false })
	for _, c := range []struct {
		method, path string
		code         int
		allow, body  string
	}{
		{"POST", "/start", 200, "", `{"status":"started","message":"Log generation started successfully"}`},
		{"POST", "/start", 200, "", `{"status":"started","message":"Log generation started successfully"}`},
		{"POST", "/stop", 200, "", `{"status":"stopped","message":"Log generation stopped successfully"}`},
		{"POST", "/stop", 200, "", `{"status":"stopped","message":"Log generation stopped successfully"}`},
		{"GET", "/status", 200, "", `{"running":false,"totalGenerated":0,"totalRateLimited":0,"currentRate":0}`},
		{"GET", "/rate/global", 200, "", `{"key":"global","currentRate":0,"windowSize":60}`},
		{"GET", "/rate/host-1", 200, "", `{"key":"host-1","currentRate":0,"windowSize":60}`},
		{"GET", "/start", 405, "POST", `{"status":"error","message":"the method must be POST, got GET"}`},
		{"DELETE", "/stop", 405, "POST", `{"status":"error","message":"the method must be POST, got DELETE"}`},
		{"POST", "/status", 405, "GET, HEAD", `{"status":"error","message":"the method must be GET, HEAD, got POST"}`},
		{"PUT", "/rate/global", 405, "GET, HEAD", `{"status":"error","message":"the method must be GET, HEAD, got PUT"}`},
		{"GET", "/pause", 404, "", `{"status":"error","message":"there is no /api/v1/generator/pause; there are start, stop, status and rate/{key}"}`},
		{"GET", "/rate", 404, "", `{"status":"error","message":"there is no /api/v1/generator/rate; there are start, stop, status and rate/{key}"}`},
	} {
		w := request(h, c.method, c.path)
		name := c.method + " " + c.path
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.code, c.body)
		}
		if got := w.Header().Get("Content-Length"); got != strconv.Itoa(len(c.body)) {
			t.Errorf("%s: Content-Length %q, want %d", name, got, len(c.body))
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", name, got)
		}
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s: Allow %q, want %q", name, got, c.allow)
		}
	}
}

func TestStatusTellsTheTruthOfTheLastSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h, _ := served(t, func(c *Config) { c.Rate = 250 })
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second+tick/2)
		defer cancel()
		readAll(t, ctx, r)
		if got := request(h, "GET", "/status").Body.String(); got != `{"running":true,"totalGenerated":2500,"totalRateLimited":0,"currentRate":250}` {
			t.Errorf("while running: %s", got)
		}
		// Of the ten full seconds the first lacks the event that is due on its end.
		if got := request(h, "GET", "/rate/global").Body.String(); got != `{"key":"global","currentRate":249.9,"windowSize":60}` {
			t.Errorf("over the window: %s", got)
		}
		if got := request(h, "GET", "/rate/other").Body.String(); got != `{"key":"other","currentRate":0,"windowSize":60}` {
			t.Errorf("of another instance: %s", got)
		}
		request(h, "POST", "/stop")
		pass(2 * time.Second)
		if got := request(h, "GET", "/status").Body.String(); got != `{"running":false,"totalGenerated":2500,"totalRateLimited":0,"currentRate":0}` {
			t.Errorf("when stopped: %s", got)
		}
	})
}

func TestEventsThatALimiterTookAreCounted(t *testing.T) {
	r, h, registry := served(t, func(c *Config) { c.Rate, c.Count = Max, 100 })
	p, err := r.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var receipt event.Receipt
	receipt.Counts[event.Delivered], receipt.Counts[event.Filtered] = 50, 10
	receipt.Counts[event.Shed], receipt.Counts[event.Rejected] = 25, 15
	p.Done(receipt)
	var status statusBody
	if err := json.Unmarshal(request(h, "GET", "/status").Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	if status.TotalGenerated != 100 || status.TotalRateLimited != 40 || status.Running {
		t.Errorf("status %+v", status)
	}
	want := map[string]float64{"log_events_generated_total": 100, "log_events_rate_limited_total": 40, "log_generation_rate_current": 0, "log_events_late_total": 0, "log_events_left_out_total": 0}
	if got := scrape(t, registry); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func scrape(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		m := f.Metric[0]
		values[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return values
}

func TestAHundredStartsAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h, _ := served(t, func(c *Config) { c.Rate, c.Start = 1000, false })
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if w := request(h, "POST", "/start"); !strings.Contains(w.Body.String(), "started") {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			})
		}
		group.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second+tick/2)
		defer cancel()
		if n := len(readAll(t, ctx, r)); n != 1000 {
			t.Fatalf("%d events in a second, want 1000", n)
		}
	})
}

func TestStatusOfTheLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate = 500 }))
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second+tick/2)
		defer cancel()
		readAll(t, ctx, r)
		line := func() string {
			shown := r.Status()
			for _, key := range []string{"distinct_keys", "compression", "dispersion", "average"} {
				if shown[key] == nil {
					t.Errorf("shows no %s: %v", key, shown)
				}
				delete(shown, key)
			}
			return fmt.Sprint(shown)
		}
		if got, want := line(), "map[due:1500 lag:0 offered:500 rate:500 running:true]"; got != want {
			t.Errorf("shows %s, want %s", got, want)
		}
		r.pacer.stop(time.Now())
		if got, want := line(), "map[due:1500 lag:0 offered:0 rate:500 running:false]"; got != want {
			t.Errorf("stopped, shows %s, want %s", got, want)
		}
	})
}
