package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"millrace/engine"
	"millrace/engine/load"
	"millrace/engine/stage"
)

// trick is text that a terminal obeys: it sets the title, clears the screen in
// two ways, turns the writing direction and begins a line of its own.
const trick = "\x1b]0;pwned\a\x1b[2J\u009b2J\u202e\nroot purged 1\r"

// harmless checks what would be on a terminal.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "root purged") {
			t.Errorf("%s: somebody else has written a line:\n%q", what, text)
			return
		}
		for _, r := range strings.TrimSuffix(line, "\n") {
			if !unicode.IsGraphic(r) {
				t.Errorf("%s: the terminal gets %U:\n%q", what, r, line)
				return
			}
		}
	}
}

// trickster is an engine that has tricks in everything that it tells.
func trickster(t *testing.T) (addr string) {
	stages := []map[string]any{
		{"name": "queue", "kind": "middleware", "stage": "poison_queue" + trick, "status": map[string]any{"note" + trick: trick}},
		{"name": "breaker" + trick, "kind": "middleware", "stage": "breaker",
			"status": map[string]any{"path": "/breaker", "state": trick, "resource": trick, "failure_rate": 1.0}},
		{"name": "in" + trick, "kind": "source", "stage": trick, "status": map[string]any{"offered": 1.0}},
	}
	route := func(name, state string) map[string]any {
		return map[string]any{"name": name, "state": state, "reason": trick, "stages": stages}
	}
	profile, _ := json.Marshal(map[string]any{"phases": []any{map[string]any{"constant": trick}}})
	report := load.Report{
		Route: trick, Stage: trick, Hash: trick, Profile: profile, Content: profile, ContentHash: trick, Replays: trick,
		Phase: load.PhaseReport{Position: load.Position{Name: trick}, Of: 2}, Late: load.Lateness{Policy: trick}, Running: true,
	}
	named := report
	named.Name = trick
	entry := stage.PoisonEntry{
		ID: trick, EventID: trick, Reason: trick, Class: trick, ErrorType: trick, Stage: trick, Route: trick, Pipeline: trick, Instance: trick,
		Origin: stage.PoisonOrigin{Kind: trick, Name: trick}, TraceID: trick, Key: []byte(trick), Form: trick, Payload: []byte(trick), Event: profile,
	}
	audit := func(what string) stage.PoisonAudit {
		return stage.PoisonAudit{By: trick, What: what, To: trick, Filter: trick, Report: stage.PoisonReport{Selected: 1}}
	}
	const desk = stage.PoisonPath + "r/queue/"
	answers := map[string]any{
		"GET /api/v1/routes": map[string]any{"pipeline": trick, "routes": []any{route("r", trick), map[string]any{"name": "s" + trick, "state": "paused", "reason": trick, "stages": stages[:1]}}},
		"GET " + desk:        stage.PoisonInfo{Pipeline: trick, Route: "r" + trick, Stage: trick, Store: trick, Place: profile},
		"GET " + desk + "groups": []stage.PoisonGroup{
			{Class: trick, Stage: trick, Reason: trick, Events: 1, Example: trick}},
		"GET " + desk + "entries/1": entry,
		"GET " + desk + "audit":     []stage.PoisonAudit{audit("purge"), audit("replay")},
		"POST " + desk + "purge":    stage.PoisonReport{Selected: 1, Undecided: 1, Done: true},
		"POST " + desk + "replay":   stage.PoisonReport{Selected: 1, Delivered: 1, Why: trick, Error: trick, Done: true},
		"GET " + load.Path("r"):     report, "PUT " + load.Path("r"): named, "PATCH " + load.Path("r"): report,
		"PUT " + load.ContentPath("r"):   named,
		"POST /api/v1/routes/r/pause":    map[string]any{"name": "r" + trick, "state": trick},
		"POST /api/v1/routes/r/resume":   map[string]any{"name": "r" + trick, "state": trick},
		"POST /breaker/open":             map[string]any{"state": trick},
		"POST /api/v1/routes/gone/pause": nil,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			return
		}
		body, ok := answers[r.Method+" "+r.URL.Path]
		status := http.StatusOK
		switch {
		case !ok:
			status, body = http.StatusNotFound, map[string]any{"error": trick}
		case body == nil:
			status, body = http.StatusConflict, map[string]any{"error": trick}
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // the client reads it
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

func TestNobodyWritesToTheTerminalThroughAnEngine(t *testing.T) {
	addr := trickster(t)
	for _, command := range []string{
		"dlq ls", "dlq show 1", "dlq show 2", "dlq audit", "dlq purge", "dlq purge --yes", "dlq replay", "dlq replay --dry-run", "dlq ls --route nowhere",
		"load ls", "load show r", "load set r flash", "load set flash", "load scale r 2", "load content r access_logs", "load show nowhere",
		"route ls", "route pause r", "route resume r", "route pause gone", "route pause nowhere",
		"breaker ls", "breaker open r", "breaker open nowhere", "top --once --every 100ms",
	} {
		var out, err strings.Builder
		Run(catalogue(), append(strings.Fields(command), "--addr", addr), &out, &err)
		if out.Len()+err.Len() == 0 {
			t.Errorf("engine %s says nothing", command)
		}
		harmless(t, "engine "+command, out.String())
		harmless(t, "engine "+command+", errors", err.String())
	}
}

func TestWhatIsForProgramsStaysExact(t *testing.T) {
	addr := trickster(t)
	out, _ := engineRun(t, 0, "dlq", "ls", "--json", "--addr", addr)
	var answer struct{ Groups []stage.PoisonGroup }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Groups) != 1 || answer.Groups[0].Reason != trick {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAnEntryShowsItsEventSoThatItCanBeRead(t *testing.T) {
	out, _ := engineRun(t, 0, "dlq", "show", "1", "--addr", trickster(t))
	_, event, _ := strings.Cut(out, "read as\n")
	var back struct{ Phases []struct{ Constant string } }
	if err := json.Unmarshal([]byte(event), &back); err != nil || len(back.Phases) != 1 || back.Phases[0].Constant != trick {
		t.Errorf("%v: %s", err, out)
	}
	if want := `"\x1b]0;pwned\a\x1b[2J\u009b2J\u202e\nroot purged 1\r"`; !strings.Contains(out, want) {
		t.Errorf("the payload %s is not in\n%s", want, out)
	}
}

func TestNobodyWritesToTheTerminalThroughARun(t *testing.T) {
	s := &engine.RouteStatus{Name: "r", State: engine.Parked, Reason: errors.New("bad event: " + trick)}
	states := &engine.RouteStatus{Name: "r", State: engine.Running, Stages: []engine.StageStatus{{Name: "breaker", Values: map[string]any{"state": trick}}}}
	for _, status := range []*engine.RouteStatus{s, states} {
		for _, width := range []int{30, 200} {
			harmless(t, "a live line", strings.Join(layout([]liveRow{describe(status, glance{}, glance{})}, width), "\n"))
		}
	}
	for _, width := range []int{0, 40} {
		var out strings.Builder
		log := slog.New(newTextLines(&out, slog.LevelInfo, func() int { return width }))
		log.With("topic", trick).Warn("cannot read "+trick, "error", errors.New(trick), "bytes", []byte(trick), "key "+trick, fmt.Stringer(stringer{}), "del", "\x7f")
		harmless(t, "a log line", out.String())
	}
	var out strings.Builder
	if code := report(&out, errors.New("route r: "+trick)); code != ExitFailure {
		t.Errorf("exit code %d", code)
	}
	if strings.ContainsAny(out.String(), "\x1b\a\r\u009b\u202e") {
		t.Errorf("an error: %q", out.String())
	}
}

type stringer struct{}

func (stringer) String() string { return trick }

func TestNobodyWritesToTheTerminalThroughAReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	text, err := json.Marshal(map[string]any{"pipeline": trick, "routes": map[string]any{
		"r" + trick: map[string]any{"load": map[string]any{"every_s": 1, "offered": []int{1, 2}, "achieved": []int{1, 2}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := engineRun(t, 0, "load", "plot", "--report", file)
	if !strings.Contains(out, "offered") {
		t.Errorf("no picture:\n%s", out)
	}
	harmless(t, "a picture", out)
}
