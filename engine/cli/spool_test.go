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
drain_timeout: 3s
routes:
  orders:
    source: {lines: {count: 3, ctrl_c: 1, settled: true}}
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

func TestSpoolsAndStateOfAPartOfAPipelineAreFound(t *testing.T) {
	dir := t.TempDir()
	pipeline, overlay := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "other.yaml")
	state := filepath.Join(dir, "state")
	for name, text := range map[string]string{
		pipeline: `
pipeline: p
listen: 127.0.0.1:0
state: ` + filepath.Join(dir, "nowhere") + `
drain_timeout: 3s
routes:
  orders: {source: {lines: {count: 3, ctrl_c: 1, settled: true}}, spool: {when: always}, sink: {keep: {stuck: true}}}
  bills: {source: {lines: {count: 5, ctrl_c: 1, settled: true}}, spool: {when: always}, sink: {keep: {stuck: true}}}
`,
		overlay: "state: " + state + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	engineRun(t, 0, "run", pipeline, "--with", overlay, "--only", "orders")
	engineRun(t, 0, "run", pipeline, "--set", "state="+state, "--only", "bills")

	for args, want := range map[string]string{
		pipeline + " --with " + overlay:                 "bills (--only bills) orders (--only orders)",
		pipeline + " --set state=" + state:              "bills (--only bills) orders (--only orders)",
		pipeline + " --only bills --set state=" + state: "bills",
		state: "bills (--only bills) orders (--only orders)",
	} {
		list, _ := engineRun(t, 0, append([]string{"spool", "ls"}, strings.Fields(args)...)...)
		var routes []string
		for _, line := range strings.Split(strings.TrimSpace(list), "\n")[1:] {
			routes = append(routes, strings.TrimSpace(line[:strings.Index(line, "   ")]))
		}
		if got := strings.Join(routes, " "); got != want {
			t.Errorf("spool ls %s: %s, want %s\n%s", args, got, want, list)
		}
	}
	if good, _ := engineRun(t, 0, "spool", "check", pipeline, "--with", overlay); strings.Count(good, ": good, ") != 2 {
		t.Errorf("check: %s", good)
	}
	if list, _ := engineRun(t, 0, "state", "ls", pipeline, "--with", overlay); !strings.Contains(list, "only/bills/spool-bills.db") {
		t.Errorf("state ls: %s", list)
	}
	if list, _ := engineRun(t, 0, "state", "ls", pipeline, "--with", overlay, "--only", "bills"); !strings.Contains(list, "  spool-bills.db") {
		t.Errorf("state ls --only: %s", list)
	}
	for _, command := range []string{"spool", "state"} {
		if _, said := engineRun(t, 2, command, "ls", state, "--only", "bills"); !strings.Contains(said, "need a pipeline file") {
			t.Errorf("%s ls of a directory: %s", command, said)
		}
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
