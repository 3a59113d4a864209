package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/engine/state"
)

// three is a pipeline whose routes may run in processes of their own, and its
// state directory.
func three(t *testing.T) (file, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	file = filepath.Join(filepath.Dir(dir), "p.yaml")
	text := `
pipeline: p
listen: 127.0.0.1:0
state: ` + dir + `
routes:
  a: {source: {lines: {}}, sink: {keep: {}}}
  b: {source: {lines: {}}, sink: {keep: {}}}
  c: {source: {lines: {}}, sink: {keep: {}}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, dir
}

func TestARouteDoesNotRunInTwoProcesses(t *testing.T) {
	for _, c := range []struct{ running, free, refused string }{
		{"only/a", "b b,c", "a,b a,b,c -"},
		{"only/a+b", "c", "a b b,c -"},
		{"", "", "a b,c"},
	} {
		file, whole := three(t)
		dir, err := state.Open(t.Context(), filepath.Join(whole, c.running))
		if err != nil {
			t.Fatal(err)
		}
		args := func(only string) []string {
			if only == "-" {
				return []string{"run", file}
			}
			return []string{"run", file, "--only", only}
		}
		for _, only := range strings.Fields(c.free) {
			engineRun(t, 0, args(only)...)
		}
		for _, only := range strings.Fields(c.refused) {
			if _, said := engineRun(t, 1, args(only)...); !strings.Contains(said, dir.Path+" is in use by process") || !strings.Contains(said, "bring its events twice") {
				t.Errorf("%q runs, and --only %s said %s", c.running, only, said)
			}
		}
		if _, said := engineRun(t, 0, "validate", file, "--only", "a", "--connect"); strings.Contains(said, "in use") {
			t.Errorf("%q runs, and a check said %s", c.running, said)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		for _, only := range strings.Fields(c.refused) {
			engineRun(t, 0, args(only)...)
		}
	}
}

func TestARouteThatBeginsAnewWithAnotherStateSaysSo(t *testing.T) {
	const anew = "they begin anew"
	file, whole := three(t)
	for _, c := range []struct {
		only string
		said bool
	}{{"a", false}, {"b,c", false}, {"a,b", true}, {"a,b", false}, {"a", false}} {
		_, log := engineRun(t, 0, "run", file, "--only", c.only)
		if got := strings.Contains(log, anew); got != c.said {
			t.Errorf("--only %s: warned %v, want %v\n%s", c.only, got, c.said, log)
		}
	}
	if _, log := engineRun(t, 0, "run", file); !strings.Contains(log, anew) || !strings.Contains(log, filepath.Join(whole, "only", "b+c")) {
		t.Errorf("the whole pipeline: %s", log)
	}
	if _, log := engineRun(t, 0, "run", file); strings.Contains(log, anew) {
		t.Errorf("the whole pipeline, again: %s", log)
	}
}
