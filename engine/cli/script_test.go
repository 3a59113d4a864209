package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"millrace/engine/state"
	"millrace/internal/leaks"
)

var update = flag.Bool("update", false, "write what the scripts' files should say")

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"engine": func() { os.Exit(Run(catalogue(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// leakFree is leaks.Main for a main that goes on after the tests.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := leaks.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Each script is a session at the command line: what a person types, what the
// program answers, and the exit code.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("LISTEN", "127.0.0.1:0")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"tidy":   tidy,
			"listen": occupyPort,
			"own":    ownState,
			"large":  large,
		},
	})
}

// exits runs the engine and wants its exit code: `exits 2 validate x.yaml`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || want == 0 {
		ts.Fatalf("usage: exits code arguments")
	}
	err = ts.Exec("engine", args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("engine %v: want exit code %d, got %v", args[1:], want, err)
	}
}

// changing are the parts of an output that are others every time.
var changing = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`after [\d.]+ s \([\d.]+ s of CPU, \d+ MB at most\)`), "after T s (T s of CPU, N MB at most)"},
	{regexp.MustCompile(`(  +)[\d.]+(ms|µs|s)\b`), "  T"},
	{regexp.MustCompile(` +(p50|p99|p99\.9)\b`), "  $1"},
	{regexp.MustCompile(`\([\d.]+(ms|µs|s)\)`), "(T)"},
	{regexp.MustCompile(`("(duration_s|p50|p99|p999|cpu_s|max_rss_mb)": )[\d.]+`), "${1}N"},
	{regexp.MustCompile(`go1\.[\w.-]+`), "go1.N"},
	{regexp.MustCompile(` +[\d,]+ bytes`), "  N bytes"},
}

// tidy writes an output to the file "tidied", without what is another every
// time: `tidy stdout`.
func tidy(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.instead)
	}
	ts.Check(os.WriteFile(ts.MkAbs("tidied"), []byte(text), 0o644))
}

// large makes a file of so many bytes: `large file 10485760`.
func large(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("#"), size), 0o644))
}

// occupyPort listens on a port for the rest of the script: `listen TAKEN`
// leaves the address in $TAKEN.
func occupyPort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// ownState takes a state directory for the rest of the script, as a running
// engine does.
func ownState(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := state.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = dir.Close() })
}
