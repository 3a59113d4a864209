package top

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"millrace/engine"
	"millrace/engine/cli/remote"
	"millrace/engine/load"
	"millrace/internal/leaks"
)

var update = flag.Bool("update", false, "write the screens in testdata")

func TestMain(m *testing.M) { leaks.Main(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is what an engine with two routes counts after so many seconds: 20,000
// events a second in one, 15,000 in the other.
func at(n int) Sample {
	f := float64(n)
	flash := load.Report{
		Route: "generate", Running: true, Name: "flash", Offered: 20000, Achieved: 19900, Scale: 2, Temporary: true, Returns: 33 - f, Behind: 120,
		Phase: load.PhaseReport{Position: load.Position{Phase: 1, Name: "flash"}, Of: 3, Left: 18 - f},
	}
	meters := func(rate float64) meter {
		return meter{events: f * rate, times: histogram{[]float64{.001, .01, .1}, []float64{f * 100, f * 190, f * 200}}}
	}
	return Sample{
		At: noon.Add(time.Duration(n) * time.Second),
		Routes: remote.Routes{Pipeline: "day2", Routes: []remote.Route{
			{Name: "generate", State: "running", Queued: 3, Books: engine.Books{In: int64(n) * 20000, Delivered: int64(n) * 19990, InFlight: 52, Batches: int64(n) * 200},
				Stages: []remote.Stage{
					{Name: "generator", Kind: "source", Stage: "generator", Status: map[string]any{"lag": 120.0, "offered": 20000.0, "rate": 19900.0, "running": true}},
					{Name: "limiter", Kind: "middleware", Stage: "limiter", Status: map[string]any{"available": 80000.0, "limit": 1e5, "mode": "local", "waiting": 0.0}},
					{Name: "retry", Kind: "middleware", Stage: "retry"},
					{Name: "breaker", Kind: "middleware", Stage: "breaker", Status: map[string]any{
						"state": "open", "failure_rate": 62.5, "slow_call_rate": 0.0, "waiting": 4.0, "not_permitted": 7.0, "path": "/api/v1/breakers/generate/breaker"}},
					{Name: "kafka", Kind: "sink", Stage: "kafka", Status: map[string]any{"buffer_available_bytes": 67108864.0, "partition_skew": 1.01}},
				}},
			{Name: "audit", State: "running", Books: engine.Books{In: int64(n) * 15000, Delivered: int64(n) * 15000, Poisoned: 2, Batches: int64(n) * 30},
				Stages: []remote.Stage{{Name: "kafka", Kind: "source", Stage: "kafka", Status: map[string]any{"lag": 19200.0, "partitions": 3.0}}}},
		}},
		Loads: map[string]load.Report{"generate": flash},
		Meters: map[meterKey]meter{
			{route: "generate"}: meters(0), {"generate", "limiter"}: meters(20000), {"generate", "retry"}: meters(20000),
			{"generate", "breaker"}: meters(20000), {"generate", "kafka"}: {events: f * 20000, errors: f * 3, times: meters(0).times},
		},
	}
}

// screen is a screen that has seen the first n seconds.
func screen(t *testing.T, n, width, height int) Model {
	t.Helper()
	m := New(&remote.Client{Addr: "engine.example:8080"}, time.Second)
	m = give(t, m, tea.WindowSizeMsg{Width: width, Height: height})
	for i := range n {
		m = give(t, m, sampled{sample: at(i)})
	}
	return m
}

func give(t *testing.T, m Model, msg tea.Msg) Model {
	t.Helper()
	next, _ := m.Update(msg)
	return next.(Model)
}

func press(t *testing.T, m Model, key rune) (Model, tea.Cmd) {
	t.Helper()
	next, cmd := m.Update(tea.KeyPressMsg{Code: key, Text: string(key)})
	return next.(Model), cmd
}

// golden compares a screen with the one in testdata: as many lines as the
// terminal has, none of them wider.
func golden(t *testing.T, m Model, name string) {
	t.Helper()
	lines := m.lines()
	if len(lines) != m.height {
		t.Errorf("%d lines on a terminal of %d", len(lines), m.height)
	}
	var text strings.Builder
	for _, l := range lines {
		if n := utf8.RuneCountInString(l.text); n > m.width {
			t.Errorf("%d columns on a terminal of %d: %s", n, m.width, l.text)
		}
		text.WriteString(strings.TrimRight(l.text, " ") + "\n")
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the screen %s is\n%s\nwant\n%s", name, &text, want)
	}
}

func TestScreens(t *testing.T) {
	golden(t, screen(t, 5, 80, 24), "small")
	golden(t, screen(t, 30, 120, 40), "large")
	golden(t, screen(t, 5, 60, 12), "tiny")
	golden(t, screen(t, 0, 80, 24), "asking")
}

func TestAnEngineThatIsAwayLeavesTheLastNumbers(t *testing.T) {
	m := screen(t, 5, 80, 24)
	gone := &remote.AwayError{Addr: "engine.example:8080", Err: errors.New("connection refused")}
	m = give(t, m, sampled{err: gone, at: noon.Add(6 * time.Second)})
	m = give(t, m, sampled{err: gone, at: noon.Add(7 * time.Second)})
	golden(t, m, "away")
	if m = give(t, m, sampled{sample: at(20)}); m.away != nil || m.frame.Routes[0].In != unknown {
		t.Errorf("back again, it shows %v, and a rate over the time away: %v", m.away, m.frame.Routes[0].In)
	}
}

func TestAParkedRouteSaysWhy(t *testing.T) {
	m := screen(t, 4, 80, 24)
	s := at(4)
	r := &s.Routes.Routes[1]
	r.State, r.Stages = "parked", nil
	r.Reason = `sql: the table log_events is missing: ERROR: relation "log_events" does not exist (SQLSTATE 42P01); make it, or set create: true`
	m = give(t, m, sampled{sample: s})
	m = give(t, m, tea.KeyPressMsg{Code: tea.KeyDown})
	golden(t, m, "parked")
}

func TestAPausedRouteIsShownWithItsLoad(t *testing.T) {
	m := screen(t, 4, 80, 24)
	s := at(4)
	r := &s.Routes.Routes[0]
	r.State, r.Reason, r.Paused = "paused", "paused by hand", noon.Add(2*time.Second)
	m = give(t, m, sampled{sample: s})
	golden(t, m, "paused")
	var out strings.Builder
	if err := Plain(&out, s, s, false); err != nil {
		t.Fatal(err)
	}
	if want := "generate is paused by hand since 12:00:02\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing in\n%s", want, &out)
	}
}

func TestSpacePausesAndResumesTheChosenRoute(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/api/v1/routes/generate/pause":
			_, _ = io.WriteString(w, `{"name":"generate","state":"paused","books":{"in_flight":1200}}`)
		case "/api/v1/routes/generate/resume":
			_, _ = io.WriteString(w, `{"name":"generate","state":"running"}`)
		default:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":"route audit cannot be paused: it is parked"}`)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	m := screen(t, 5, 80, 24)
	m.client = &remote.Client{Addr: server.Listener.Addr().String(), Token: "sesame"}
	says := func(want string, failed bool) {
		t.Helper()
		next, cmd := m.Update(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
		m = give(t, next.(Model), cmd())
		if !strings.Contains(m.said, want) || m.failed != failed {
			t.Errorf("says %q, want %q", m.said, want)
		}
	}
	says("generate is paused; 1,200 events that it has read are still being delivered", false)
	s := at(6)
	s.Routes.Routes[0].State, s.Routes.Routes[0].Paused = "paused", noon
	m = give(t, m, sampled{sample: s})
	says("generate is running", false)
	m = give(t, m, tea.KeyPressMsg{Code: tea.KeyTab})
	says("route audit cannot be paused: it is parked", true)
	want := "[POST /api/v1/routes/generate/pause Bearer sesame POST /api/v1/routes/generate/resume Bearer sesame" +
		" POST /api/v1/routes/audit/pause Bearer sesame]"
	if got := fmt.Sprint(asked); got != want {
		t.Errorf("asks %s, want %s", got, want)
	}
}

func TestManyRoutesAndStagesScroll(t *testing.T) {
	m := screen(t, 0, 80, 24)
	var s Sample
	s.At = noon
	for i := range 40 {
		r := remote.Route{Name: fmt.Sprintf("route%02d", i), State: "running"}
		for j := range 30 {
			r.Stages = append(r.Stages, remote.Stage{Name: fmt.Sprintf("stage%02d", j), Kind: "middleware"})
		}
		s.Routes.Routes = append(s.Routes.Routes, r)
	}
	m = give(t, m, sampled{sample: s})
	for range 60 {
		m = give(t, m, tea.KeyPressMsg{Code: tea.KeyDown})
	}
	golden(t, m, "many")
}

// keyed is a screen of an engine that remembers what it was asked.
func keyed(t *testing.T) (Model, *[]string) {
	t.Helper()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)+" "+r.Header.Get("Authorization")))
		if strings.Contains(r.URL.Path, "breakers") {
			_, _ = io.WriteString(w, `{"route":"generate","name":"breaker","state":"open","since":"2026-03-01T11:59:30Z","attempts":2,"failure_rate":62.5,
				"slow_call_rate":-1,"window":{"calls":8,"failed":5,"slow":0},"waiting":4,"totals":{"successful":900,"failed":5,"ignored":0,"not_permitted":7}}`)
			return
		}
		_ = json.NewEncoder(w).Encode(load.Report{Route: "generate", Running: true, Name: "flash", Scale: 1, Paused: true})
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	m := screen(t, 5, 80, 24)
	m.client = &remote.Client{Addr: server.Listener.Addr().String(), Token: "sesame"}
	return m, &asked
}

func TestKeysChangeTheLoad(t *testing.T) {
	for key, want := range map[rune]string{
		'+': `{"scale":4}`, '-': `{"scale":1}`, 'p': `{"pause":true}`, 'h': `{"hold":true}`, 'r': `{"hold":false,"pause":false}`, 'n': `{"next":true}`,
	} {
		m, asked := keyed(t)
		m, cmd := press(t, m, key)
		m = give(t, m, cmd())
		if want := "PATCH /api/v1/routes/generate/load " + want + " Bearer sesame"; len(*asked) != 1 || (*asked)[0] != want {
			t.Errorf("%c asks %q, want %q", key, *asked, want)
		}
		if m.failed || m.said != "generate: flash, 0/s, paused" {
			t.Errorf("%c says %q", key, m.said)
		}
	}
}

func TestTheOnlyLoadIsChangedFromAnyRoute(t *testing.T) {
	m, asked := keyed(t)
	m = give(t, m, tea.KeyPressMsg{Code: tea.KeyTab})
	if m.chosen().Name != "audit" {
		t.Fatalf("tab chooses %s", m.chosen().Name)
	}
	_, cmd := press(t, m, 'p')
	cmd()
	if len(*asked) != 1 || !strings.Contains((*asked)[0], "/routes/generate/load") {
		t.Errorf("asks %q", *asked)
	}
}

func TestEnterLooksIntoABreaker(t *testing.T) {
	m, asked := keyed(t)
	next, cmd := m.Update(tea.KeyPressMsg{Code: tea.KeyEnter})
	m = give(t, next.(Model), cmd())
	if want := "GET /api/v1/breakers/generate/breaker  Bearer sesame"; len(*asked) != 1 || (*asked)[0] != want {
		t.Errorf("asks %q, want %q", *asked, want)
	}
	m.client = &remote.Client{Addr: "engine.example:8080"}
	golden(t, m, "breaker")
	if m = give(t, m, tea.KeyPressMsg{Code: tea.KeyEscape}); m.detail != nil {
		t.Error("escape does not lead back")
	}
}

func TestTablesWithoutATerminal(t *testing.T) {
	var out strings.Builder
	if err := Plain(&out, at(3), at(4), true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"12:00:04 day2\n", "generate  running    20k/s  20k/s  20k/s", "generate load flash, phase flash 2/3, 14s left, scale 2, running, back in 29s, 120 behind\n",
		"open, failures 62.5%, waiting 4, not permitted 7\n", "route audit\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestWhatIsNotAnEngineIsSaid(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	_, err := Take(t.Context(), &remote.Client{Addr: server.Listener.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "does not answer like an engine") {
		t.Errorf("says %v", err)
	}
}

func TestQuantilesAreThoseOfTheLastSecond(t *testing.T) {
	old := histogram{[]float64{.001, .01, .1}, []float64{1000, 1000, 1000}}
	now := histogram{[]float64{.001, .01, .1}, []float64{1000, 1100, 1100}}
	if q, ok := now.since(old).quantile(.5); !ok || q < .001 || q > .01 {
		t.Errorf("p50 %v, %v", q, ok)
	}
	if q, ok := old.since(now).quantile(.5); !ok || q > .001 {
		t.Errorf("of an engine that was started anew: p50 %v, %v", q, ok)
	}
	if _, ok := now.since(now).quantile(.5); ok {
		t.Error("there is a latency although nothing came")
	}
}
