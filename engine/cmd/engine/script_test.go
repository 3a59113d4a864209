package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"millrace/engine/cli"
	"millrace/internal/ports"
	"millrace/stages"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"engine": func() { os.Exit(cli.Run(stages.All(), os.Args[1:], os.Stdout, os.Stderr)) },
		"post":   post,
	})
}

// post sends an event and prints what was answered: `post $ADDR/api/logs`.
func post() {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+os.Args[1], strings.NewReader(`{"level":"INFO","source":"test","message":"hello"}`))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("ENGINE_TOKEN"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
}

// Each script is a session with the real stages: one engine runs in the
// background, and commands talk to it.
func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"port":   port,
			"within": within,
		},
	})
}

// exits runs the engine and wants its exit code: `exits 2 load set flsh`.
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

// port finds a free address: `port ENGINE_ADDR` leaves it in $ENGINE_ADDR.
func port(ts *testscript.TestScript, _ bool, args []string) {
	free, err := ports.Free(1)
	ts.Check(err)
	ts.Setenv(args[0], ports.Address(free[0]))
}

// within tries a command until it succeeds and its output matches:
// `within 2m 'flash' engine load show`.
func within(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	wanted, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	end := time.Now().Add(limit)
	for {
		if err = ts.Exec(args[2], args[3:]...); err == nil && wanted.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v never succeeded with %q: %v", args[2:], wanted, err)
		}
		time.Sleep(50 * time.Millisecond) // between two tries; how long it takes decides nothing
	}
}
