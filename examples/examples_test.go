// Package examples holds programs as users of Millrace write them. They are
// modules of their own; the tests here build and run them as a user would.
package examples

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// customStage is the folder of the module with a stage of its own.
const customStage = "custom-stage"

// run runs a program in a folder and returns its standard output.
func run(t *testing.T, dir string, program string, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &log
	cmd.Env = append(os.Environ(), "LISTEN=127.0.0.1:0", "GOFLAGS=-mod=readonly")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out.String(), log.String())
	}
	return out.String()
}

// build builds the engine of the custom-stage module.
func build(t *testing.T) (engine string) {
	t.Helper()
	engine = filepath.Join(t.TempDir(), "pipelines")
	run(t, customStage, "go", "build", "-o", engine, ".")
	return engine
}

// The module is built once for the tests that run it.
func TestTheEngineWithTheCustomStage(t *testing.T) {
	engine := build(t)
	t.Run("runs a pipeline", func(t *testing.T) { runsAPipeline(t, engine) })
	t.Run("lists, explains and checks the stage", func(t *testing.T) { knowsTheStage(t, engine) })
}

func TestTheCustomStagePassesItsConformanceTest(t *testing.T) {
	run(t, customStage, "go", "vet", "./...")
	run(t, customStage, "go", "test", "./...")
}

func runsAPipeline(t *testing.T, engine string) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(customStage, "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	out := run(t, t.TempDir(), engine, "run", file, "--verify", "--report", report)

	events := 0
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e struct{ Message string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if e.Message != "card [card] was charged" {
			t.Errorf("got %q", e.Message)
		}
		events++
	}
	if events != 100 {
		t.Errorf("%d events were printed, want 100", events)
	}
	var books struct {
		Routes map[string]struct{ In, Delivered int }
	}
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &books); err != nil {
		t.Fatal(err)
	}
	if got := books.Routes["payments"]; got.In != 100 || got.Delivered != 100 {
		t.Errorf("the books say %+v", got)
	}
}

func knowsTheStage(t *testing.T, engine string) {
	t.Helper()
	for _, c := range []struct{ args, want string }{
		{"list", "redact        Masks what nobody should read in messages"},
		{"help redact", "such as '\\b\\d{16}\\b'"},
		{"explain pipeline.yaml", "Puts [card] in place of \\d{16}"},
		{"validate redact/example.yaml", "ok (1 route, 3 stages)"},
	} {
		out := run(t, customStage, engine, strings.Fields(c.args)...)
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(c.want), " ")) {
			t.Errorf("%s: want %q in\n%s", c.args, c.want, out)
		}
	}
	broken := exec.CommandContext(t.Context(), engine, "validate", "pipeline.yaml", "--set", "routes.payments.middleware.redact.pattern=(")
	broken.Dir = customStage
	out, err := broken.CombinedOutput()
	if broken.ProcessState == nil || broken.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "routes.payments.middleware.redact.pattern: error parsing regexp") {
		t.Errorf("got %v: %s", err, out)
	}
}
