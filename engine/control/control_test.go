package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/control"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// served is a running engine and its HTTP interface.
type served struct {
	t      *testing.T
	url    string
	sink   *stagetest.Sink
	source *stagetest.Source
	engine *engine.Engine
}

// mounting is a source that serves a path.
type mounting struct{ *stagetest.SourceConfig }

func (c *mounting) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	if err := s.Mount("/api/v1/source/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "mounted "+r.URL.Path)
	})); err != nil {
		return nil, err
	}
	return c.SourceConfig.Open(ctx, s)
}

func serve(t *testing.T, more string) *served {
	s := &served{t: t, sink: stagetest.NewSink("out"), source: stagetest.NewSource("in")}
	in := s.source.Stage()
	inner := in.New
	in.New = func() any { return &mounting{inner().(*stagetest.SourceConfig)} }
	p, err := config.Parse([]stage.Stage{in, s.sink.Stage()}, "t.yaml", []byte(
		"pipeline: test\nstate: "+t.TempDir()+"\n"+more+"\nroutes: {r: {source: {in: {}}, sink: {out: {}}}}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = e.Run(ctx); close(done) }()
	server := httptest.NewServer(control.Handler(e, "1.2.3"))
	t.Cleanup(func() {
		cancel()
		<-done
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	s.url, s.engine = server.URL, e
	s.source.SendEvents("a", "b")
	if err := s.source.AwaitReceipts(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.await("run", func() bool { return e.Status()[0].State == engine.Running }) // it reads a moment before
	return s
}

// await waits until the route does what it is to do.
func (s *served) await(what string, does func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !does(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the route is %s, and does not %s", s.engine.Status()[0].State, what)
		}
	}
}

// park makes the sink break for good, and returns once the route is parked and
// its source has left. The source is told of its events before either.
func (s *served) park() {
	s.t.Helper()
	s.sink.FailWrites(stagetest.All, 1, stage.Fatal(io.ErrClosedPipe))
	s.source.SendEvents("c")
	s.await("park", func() bool {
		_, state := s.engine.Absent()
		return state == engine.Parked && s.engine.Mounts().Find("/api/v1/source/x") == nil
	})
}

// do asks for a path and returns status and body.
func (s *served) do(method, path string, headers ...string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestARunningEngineShowsItself(t *testing.T) {
	s := serve(t, "")
	for path, want := range map[string]string{
		"/healthz":                   `"status":"UP"`,
		"/readyz":                    `"state":"running"`,
		"/actuator/health":           `"route.r"`,
		"/actuator/health/liveness":  `"status":"UP"`,
		"/actuator/health/readiness": `"status":"UP"`,
		"/actuator/info":             `"version":"1.2.3"`,
		"/actuator/prometheus":       `millrace_route_events_total{outcome="delivered",pipeline="test",route="r"} 2`,
		"/metrics":                   `millrace_route_events_in_total{pipeline="test",route="r"} 2`,
		"/api/v1/routes":             `"delivered":2`,
		"/api/v1/routes/r":           `"in":2`,
		"/api/v1/source/x":           "mounted /api/v1/source/x",
		"/debug/pprof/":              "goroutine",
		"/":                          "/api/v1/routes",
	} {
		if status, body, _ := s.do("GET", path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, want %s in %s", path, status, want, body)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, "/api/v1/routes/x": 404} {
		if status, body, _ := s.do("GET", path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestAnswersHaveTheirLengthAndType(t *testing.T) {
	s := serve(t, "")
	for _, path := range []string{"/healthz", "/readyz", "/actuator/health", "/api/v1/routes"} {
		_, body, h := s.do("GET", path)
		if h.Get("Content-Length") == "" || h.Get("Content-Type") != "application/json" || !json.Valid([]byte(body)) {
			t.Errorf("%s: %v %s", path, h, body)
		}
	}
}

func TestControlNeedsTheTokenAndHealthDoesNot(t *testing.T) {
	s := serve(t, "token: s3cret")
	for _, path := range []string{"/api/v1/routes", "/api/v1/source/x", "/debug/pprof/", "/"} {
		for _, token := range []string{"", "Bearer wrong", "s3cret"} {
			if status, body, _ := s.do("GET", path, "Authorization", token); status != 401 || strings.Contains(body, "s3cret") {
				t.Errorf("%s with %q: %d %s", path, token, status, body)
			}
		}
		if status, _, _ := s.do("GET", path, "Authorization", "Bearer s3cret"); status != 200 {
			t.Errorf("%s with the token: %d", path, status)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/actuator/health"} {
		if status, _, _ := s.do("GET", path); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestAPageOfSomebodyElseCannotControlTheEngine(t *testing.T) {
	s := serve(t, "")
	if status, _, _ := s.do("POST", "/api/v1/source/stop", "Origin", "http://evil.example"); status != 403 {
		t.Errorf("status %d", status)
	}
	if status, _, _ := s.do("POST", "/api/v1/source/stop", "Origin", s.url); status != 200 {
		t.Errorf("the engine's own page: status %d", status)
	}
}

func TestWhyARouteIsDownIsToldWithTheTokenOnly(t *testing.T) {
	s := serve(t, "token: s3cret")
	s.park()
	for _, path := range []string{"/readyz", "/actuator/health"} {
		if status, body, _ := s.do("GET", path); status != 503 || strings.Contains(body, "closed pipe") {
			t.Errorf("%s without the token: %d %s", path, status, body)
		}
		if _, body, _ := s.do("GET", path, "Authorization", "Bearer s3cret"); !strings.Contains(body, "closed pipe") {
			t.Errorf("%s with the token: %s", path, body)
		}
	}
}

func TestAPathWhoseSourceIsNotThereIsAskedForAgain(t *testing.T) {
	s := serve(t, "")
	s.park()
	status, body, h := s.do("POST", "/api/v1/source/x")
	if status != 503 || h.Get("Retry-After") == "" || !strings.Contains(body, "route r is parked") {
		t.Errorf("a client is told for good that there is no such path: %d %v %s", status, h, body)
	}
}

func TestAParkedRouteMakesTheEngineUnreadyAndSaysWhy(t *testing.T) {
	s := serve(t, "")
	s.park()
	status, body, _ := s.do("GET", "/readyz")
	if status != 503 || !strings.Contains(body, "closed pipe") || !strings.Contains(body, "parked") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := s.do("GET", "/healthz"); status != 200 {
		t.Errorf("a parked route makes the process unhealthy: %d", status)
	}
}

func TestARouteIsPausedAndResumedOverHTTP(t *testing.T) {
	s := serve(t, "")
	for range 2 { // a second time changes nothing
		if status, body, _ := s.do("POST", "/api/v1/routes/r/pause"); status != 200 || !strings.Contains(body, `"state":"paused"`) {
			t.Fatalf("%d %s", status, body)
		}
	}
	for path, want := range map[string]string{
		"/readyz":          `"reason":"paused by hand","state":"paused"`,
		"/actuator/health": `"reason":"paused by hand","state":"paused"`,
		"/api/v1/routes":   `"paused_since":"20`,
		"/metrics":         `millrace_route_state{pipeline="test",route="r",state="paused"} 1`,
	} {
		if status, body, _ := s.do("GET", path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, want %s in %s", path, status, want, body)
		}
	}
	s.source.SendEvents("c")
	if status, body, _ := s.do("POST", "/api/v1/routes/r/resume"); status != 200 || !strings.Contains(body, `"state":"running"`) ||
		strings.Contains(body, "paused") {
		t.Errorf("%d %s", status, body)
	}
	if err := s.sink.AwaitDelivered(t.Context(), 3); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBePausedIsRefusedWithAReason(t *testing.T) {
	s := serve(t, "token: s3cret")
	token := []string{"Authorization", "Bearer s3cret"}
	s.park()
	for request, want := range map[string]string{
		"POST /api/v1/routes/r/pause":   `409 {"error":"route r cannot be paused: it is parked, and it reads nothing until`,
		"POST /api/v1/routes/r/resume":  `409 {"error":"route r cannot be resumed: it is parked`,
		"POST /api/v1/routes/rr/pause":  `404 {"error":"no route \"rr\"; did you mean \"r\"?"}`,
		"GET /api/v1/routes/rr":         `404 {"error":"no route \"rr\"; did you mean \"r\"?"}`,
		"GET /api/v1/routes/r/pause":    `405 {"error":"the method must be POST`,
		"DELETE /api/v1/routes/r/pause": `405 {"error":"the method must be POST`,
	} {
		method, path, _ := strings.Cut(request, " ")
		status, body, _ := s.do(method, path, token...)
		if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
		if status, _, _ := s.do(method, path); status != 401 {
			t.Errorf("%s without the token: %d", request, status)
		}
	}
}
