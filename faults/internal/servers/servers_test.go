package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) {
	leaks.Main(m, goleak.IgnoreAnyFunction("millrace/internal/child.keepThread"))
}

// shell is a service that is a shell with a child.
func shell(t *testing.T) *Server {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Fatalf("these tests read /proc: %v", err)
	}
	s := &Server{name: "shell", dir: t.TempDir(), stop: syscall.SIGTERM}
	s.command = func() (*exec.Cmd, error) { return exec.Command("sh", "-c", "sleep 1000 & wait"), nil }
	s.answers = func(context.Context) error {
		if len(s.family()) < 2 {
			return errors.New("it has no child yet")
		}
		return nil
	}
	t.Cleanup(func() { _ = s.Kill() })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// state is what the kernel says of a process: S sleeping, T stopped, Z ended; ""
// when there is none.
func state(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:min(1, len(rest))]
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("has not come true: %s", what)
		}
	}
}

func TestAKilledServiceLeavesNoProcessAndStartsAgain(t *testing.T) {
	s := shell(t)
	family := s.family()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range family {
		until(t, "all its processes end", func() bool { st := state(pid); return st == "" || st == "Z" })
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if s.family()[0] == family[0] {
		t.Error("it is the same process")
	}
}

func TestAFrozenServiceStandsStillUntilItIsResumedOrStopped(t *testing.T) {
	s := shell(t)
	family := s.family()
	all := func(want string) func() bool {
		return func() bool {
			for _, pid := range family {
				if state(pid) != want {
					return false
				}
			}
			return true
		}
	}
	s.Freeze()
	until(t, "all its processes are stopped", all("T"))
	s.Resume()
	until(t, "all its processes go on", all("S"))
	s.Freeze()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAServiceThatEndsAtOnceIsAnErrorThatNamesItsLog(t *testing.T) {
	s := &Server{name: "brief", dir: t.TempDir(), command: func() (*exec.Cmd, error) { return exec.Command("false"), nil },
		answers: func(context.Context) error { return errors.New("nobody there") }}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), s.Log()) {
		t.Errorf("got %v, want an error that names %s", err, s.Log())
	}
}
