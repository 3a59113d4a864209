package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// engineRun runs a command line, which must end with a code.
func engineRun(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	if got := Run(catalogue(), args, &out, &err); got != code {
		t.Fatalf("engine %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), err.String())
	}
	return out.String(), err.String()
}

func TestWhatASpoolHoldsIsListedAndChecked(t *testing.T) {
	dir := t.TempDir()
	pipeline, state := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "state")
	if err := os.WriteFile(pipeline, []byte(`
pipeline: p
listen: 127.0.0.1:0
state: `+state+`
drain_timeout: 200ms
routes:
  orders:
    source: {lines: {count: 3, ctrl_c: 1}}
    spool: {when: always}
    sink: {keep: {stuck: true}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said := engineRun(t, 1, "spool", "ls", pipeline); !strings.Contains(said, "has the pipeline run yet?") {
		t.Errorf("before the first run: %s", said)
	}
	books, said := engineRun(t, 0, "run", pipeline, "--verify")
	if !strings.Contains(books, "orders.spool") || !strings.Contains(books, "balanced: every event") ||
		!strings.Contains(said, "events remain in the spool") {
		t.Errorf("the run said\n%s%s", books, said)
	}

	file := filepath.Join(state, "spool-orders.db")
	for _, where := range []string{pipeline, state, file} {
		list, _ := engineRun(t, 0, "spool", "ls", where)
		lines := strings.Split(list, "\n")
		if fields := strings.Fields(lines[1]); fields[0] != "orders" || fields[2] != "3" || fields[len(fields)-1] != "ago" {
			t.Errorf("ls %s:\n%s", where, list)
		}
		if good, _ := engineRun(t, 0, "spool", "check", where); !strings.HasPrefix(good, file+": good, ") {
			t.Errorf("check %s: %s", where, good)
		}
	}

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), "line 2", "line 7", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	found, said := engineRun(t, 1, "spool", "check", pipeline)
	if !strings.Contains(found, "its checksum is") || !strings.Contains(said, file+" is damaged; put back a copy") {
		t.Errorf("damaged: %s%s", found, said)
	}
}

func TestThereMayBeNoSpoolToLookAt(t *testing.T) {
	dir := t.TempDir()
	if out, _ := engineRun(t, 0, "spool", "ls", dir); out != "no spools in "+dir+"\n" {
		t.Error(out)
	}
	if out, _ := engineRun(t, 0, "spool", "check", dir); out != "no spools in "+dir+"\n" {
		t.Error(out)
	}
	if _, said := engineRun(t, 1, "spool", "ls", filepath.Join(dir, "spool-x.db")); !strings.Contains(said, "there is no pipeline file, state directory or spool") {
		t.Error(said)
	}
	text := filepath.Join(dir, "spool-text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said := engineRun(t, 1, "spool", "check", text); !strings.Contains(out+said, "is damaged") {
		t.Error(out, said)
	}
}
