package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/engineproc"
	"millrace/internal/leaks"
)

// engine is built once for all tests.
var engine engineproc.Binary

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "millrace-engine-")
	if err == nil {
		engine, err = engineproc.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	leaks.MainThen(m, func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}, goleak.IgnoreAnyFunction("millrace/internal/child.keepThread"))
}

// soon is how long things may take that take no time on an idle machine.
const soon = 3 * time.Minute

// patient gives a slow machine time to drain; the run's exit is awaited a
// little longer.
const (
	patient  = "drain_timeout=3m"
	exitTime = 200 * time.Second
)

// day2 is one pipelines/day2.yaml with a state directory of its own.
type day2 struct {
	t      *testing.T
	env    map[string]string
	sets   []string // given to every command as --set
	state  string
	report string
}

func newDay2(t *testing.T) *day2 {
	t.Helper()
	dir := t.TempDir()
	d := &day2{t: t, state: filepath.Join(dir, "state"), report: filepath.Join(dir, "report.json")}
	d.env = map[string]string{"LISTEN": "127.0.0.1:0", "STATE_DIR": d.state}
	return d
}

func (d *day2) args(command string, more ...string) []string {
	file, err := filepath.Abs("day2.yaml")
	if err != nil {
		d.t.Fatal(err)
	}
	args := []string{command, file}
	for _, s := range d.sets {
		args = append(args, "--set", s)
	}
	return append(args, more...)
}

// start runs the pipeline with everything checked at its end.
func (d *day2) start(more ...string) *engineproc.Process {
	d.t.Helper()
	return engine.Start(d.t, d.env, d.args("run", append([]string{"--verify", "--report", d.report}, more...)...)...)
}

// ends waits for the end of a run and wants it to have gone well: exit code 0
// and books that balance. It returns the books of generate and audit.
func (d *day2) ends(p *engineproc.Process) (generate, audit engineproc.Books) {
	d.t.Helper()
	if code := p.Exit(exitTime); code != 0 {
		d.t.Fatalf("exit code %d, want 0", code)
	}
	r := p.ReadReport(d.report)
	for name, route := range r.Routes {
		if !route.Balanced() || route.Lost != 0 {
			d.t.Errorf("route %s: the books do not balance: %+v", name, route.Books)
		}
	}
	return r.Routes["generate"].Books, r.Routes["audit"].Books
}

// set is a copy of the settings with one more.
func (d *day2) set(s ...string) *day2 {
	c := *d
	c.sets = append(slices.Clone(d.sets), s...)
	return &c
}
