package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/engine/stage"
)

// queue is a stage with a store of bad events, of which only that counts.
type queue struct{}

func (*queue) Open(context.Context, stage.Settings) (stage.Wrapper, error) {
	return nil, errors.New("not for running")
}
func (*queue) OpenPoison(context.Context, stage.Settings) (stage.PoisonStore, error) {
	return nil, errors.New("no store")
}
func (*queue) PoisonSource(string, stage.PoisonSelection) (stage.Source, error) {
	return nil, errors.New("no store")
}

// dlq asks an engine whose routes are as given about its bad events, and wants
// an exit code. Only route "good" has a poison queue that answers; the engine
// answers for all others as it does while one route is not open.
func dlq(t *testing.T, code int, routes string, args ...string) (stdout, stderr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v1/routes":
			_, _ = w.Write([]byte(`{"pipeline": "p", "routes": [` + routes + `]}`))
		case r.URL.Path == stage.PoisonPath+"good/queue/":
			_ = json.NewEncoder(w).Encode(stage.PoisonInfo{Pipeline: "p", Route: "good", Stage: "queue", Store: "a table"})
		case r.URL.Query().Get("filter") != "":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error": "filter: the expression ends too early"}`))
		case r.URL.Path == stage.PoisonPath+"good/queue/groups":
			_, _ = w.Write([]byte("[]"))
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error": "nothing is served there at the moment"}`))
		}
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	return withQueue(t, code, append([]string{"dlq", "ls", "--addr", strings.TrimPrefix(server.URL, "http://")}, args...)...)
}

// withQueue runs a command line that may name the stage queue.
func withQueue(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	catalogue := append(catalogue(), stage.Stage{Name: "queue", Kind: stage.KindMiddleware, New: func() any { return &queue{} }})
	if got := Run(catalogue, args, &out, &err); got != code {
		t.Fatalf("engine %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), err.String())
	}
	return out.String(), err.String()
}

const (
	good    = `{"name": "good", "state": "running", "stages": [{"name": "keep", "kind": "sink"}, {"name": "queue", "kind": "middleware"}, {"name": "lines", "kind": "source"}]}`
	without = `{"name": "plain", "state": "running", "stages": [{"name": "limiter", "kind": "middleware"}, {"name": "lines", "kind": "source"}]}`
	bare    = `{"name": "bare", "state": "running", "stages": [{"name": "lines", "kind": "source"}]}`
)

func TestAPoisonQueueThatIsNotOpenSaysWhy(t *testing.T) {
	const ended = "so no poison queue of it is open; the next start of the engine opens it, and once the engine has ended this command does, by the pipeline file"
	for name, c := range map[string]struct {
		routes, route string
		code          int
		want          []string
	}{
		"it opens": {`{"name": "r", "state": "opening", "reason": "broker away", "stages": []}`, "r", 3,
			[]string{"route r is still opening (broker away), so no poison queue of it is open; try again in a moment"}},
		"all open":    {`{"name": "r", "state": "opening", "stages": []}`, "", 3, []string{"route r is still opening, so"}},
		"it is over":  {`{"name": "r", "state": "finished", "stages": []}, ` + good, "r", 3, []string{"route r has come to its end", ended}},
		"it stopped":  {`{"name": "r", "state": "stopped", "stages": []}, ` + good, "r", 3, []string{"route r was stopped", ended}},
		"it parked":   {`{"name": "r", "state": "parked", "reason": "denied", "stages": []}, ` + good, "r", 3, []string{"route r is parked (denied)", ended}},
		"it is about": {`{"name": "r", "state": "running", "stages": []}`, "r", 3, []string{"route r is ending", ended}},
		"it drains": {`{"name": "r", "state": "draining", "stages": [{"name": "queue", "kind": "middleware"}]}`, "r", 3,
			[]string{"route r is ending", ended}},
		"behind a spool, it opens": {bare + `, {"name": "bare.spool", "state": "opening", "reason": "broker away", "stages": [{"name": "spool", "kind": "source"}]}`,
			"bare", 3, []string{"route bare is still opening (broker away)", "try again in a moment"}},
		"behind a spool, it parked": {bare + `, {"name": "bare.spool", "state": "parked", "reason": "denied", "stages": []}`, "", 3,
			[]string{"route bare is parked (denied)", ended}},
		"it has none":                  {without, "plain", 2, []string{"route plain has no poison queue\n"}},
		"it has none, and others open": {without + `, {"name": "r", "state": "opening", "stages": []}`, "plain", 2, []string{"route plain has no poison queue\n"}},
		"nobody has one":               {without + ", " + bare, "", 2, []string{"no route of the pipeline has a poison queue\n"}},
		"behind a spool, it has none":  {bare + `, {"name": "bare.spool", "state": "running", "stages": []}`, "bare", 2, []string{"route bare has no poison queue\n"}},
		"it is not there":              {good, "goood", 2, []string{`no route "goood"; did you mean "good"?`}},
		"it is a spool":                {bare + `, {"name": "bare.spool", "state": "running", "stages": []}`, "bare.spool", 2, []string{`no route "bare.spool"`}},
	} {
		args := []string{}
		if c.route != "" {
			args = append(args, "--route", c.route)
		}
		_, said := dlq(t, c.code, c.routes, args...)
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %swant %s", name, said, want)
			}
		}
	}
}

func TestRoutesThatAreNotOpenAreNamedBesideThoseThatAre(t *testing.T) {
	out, said := dlq(t, 0, good+", "+without+`, {"name": "r", "state": "opening", "stages": []}, {"name": "s", "state": "finished", "stages": []}`)
	if out != "good.queue: 0 bad events in a table\n" {
		t.Error(out)
	}
	if want := "route r is still opening, so a poison queue of its own is not looked at here; try again in a moment\n" +
		"route s has come to its end, so a poison queue of its own is not looked at here; "; !strings.HasPrefix(said, want) || strings.Count(said, "\n") != 2 {
		t.Error(said)
	}
	if _, said := dlq(t, 0, good+`, {"name": "r", "state": "opening", "stages": []}`, "--route", "good"); said != "" {
		t.Errorf("of another route than the one that was asked for: %s", said)
	}
	if _, said := dlq(t, 0, strings.Replace(good, "running", "draining", 1)); said != "" {
		t.Errorf("a route that ends and still answers: %s", said)
	}
}

func TestAFilterThatMakesNoSenseIsAWrongCommandLine(t *testing.T) {
	if _, said := dlq(t, ExitUsage, good, "--filter", "level >="); said != "filter: the expression ends too early\n" {
		t.Error(said)
	}
}

func TestAFileSaysWhichRoutesHaveAPoisonQueue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(`
pipeline: p
listen: 127.0.0.1:0
state: `+t.TempDir()+`
routes:
  r: {source: {lines: {}}, middleware: [{queue: {}}], sink: {keep: {}}}
  s: {source: {lines: {}}, sink: {keep: {}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	const opening = `{"name": "r", "state": "opening", "stages": []}, {"name": "s", "state": "opening", "stages": []}`
	if _, said := dlq(t, 3, opening, file); strings.Contains(said, "route s") || !strings.Contains(said, "route r is still opening") {
		t.Error(said)
	}
	if _, said := dlq(t, 2, opening, file, "--route", "s"); said != "route s has no poison queue\n" {
		t.Error(said)
	}
	// Without an engine.
	if _, said := withQueue(t, 2, "dlq", "ls", file, "--route", "s"); said != "route s has no poison queue\n" {
		t.Error(said)
	}
	if _, said := withQueue(t, 2, "dlq", "replay", file, "--route", "nowhere"); said != "no route \"nowhere\"; routes: r, s\n" {
		t.Error(said)
	}
}

func TestBadEventsAreCounted(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bad events", 1: "1 bad event", 1200: "1,200 bad events"} {
		if got := badEvents(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
