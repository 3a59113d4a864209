// Package engineproc runs the engine as its users do: as a process, known only
// by its arguments, its environment, its log, its HTTP interface and its exit
// code. For tests.
package engineproc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/internal/child"
)

// Binary is the path of a built engine.
type Binary string

// Build builds the engine into a directory.
func Build(dir string) (Binary, error) {
	file := filepath.Join(dir, "engine")
	out, err := exec.Command("go", "build", "-o", file, "millrace/engine/cmd/engine").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the engine: %w\n%s", err, out)
	}
	return Binary(file), nil
}

// Process is a started engine.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    text
	log    text
	exited chan struct{}
}

// Start starts the engine in an empty working directory with env and nothing
// else of the environment that could point it at a service. It is killed at
// the end of the test, and a test that failed shows its last log lines.
func (b Binary) Start(t testing.TB, env map[string]string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(string(b), args...), exited: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := child.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.cleanUp)
	return p
}

func (p *Process) cleanUp() {
	p.Kill()
	if p.t.Failed() {
		p.t.Logf("the last log lines of engine %d (%s):\n%s\n%s", p.cmd.Process.Pid, p.cmd.ProcessState, tail(p.Log(), 30), p.Out())
	}
}

// Log is what the engine has written to standard error.
func (p *Process) Log() string { return p.log.String() }

// Out is what the engine has written to standard output.
func (p *Process) Out() string { return p.out.String() }

// Stop asks the engine to drain and end.
func (p *Process) Stop() { p.signal(syscall.SIGTERM) }

// Kill ends the process as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

func (p *Process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Memory is how much of the machine's memory the process holds now, in bytes;
// 0 where the system does not tell.
func (p *Process) Memory() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	for line := range strings.Lines(string(text)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return 0
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exit waits until the process has ended and returns its exit code. One that
// does not end in time fails the test with the stacks of its goroutines.
func (p *Process) Exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(within):
		p.signal(syscall.SIGQUIT)
		<-p.exited
		file := filepath.Join(os.TempDir(), fmt.Sprintf("engine-%d.log", p.cmd.Process.Pid))
		_ = os.WriteFile(file, []byte(p.Log()), 0o600)
		p.t.Fatalf("the engine has not ended within %v; its log and stacks are in %s", within, file)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Lines are the log lines in JSON, each as a map.
func (p *Process) Lines() []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(p.Log()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil {
			lines = append(lines, fields)
		}
	}
	return lines
}

// Eventually polls until a condition holds; it fails the test when that takes
// longer than within.
func Eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	if !Within(within, holds) {
		t.Fatalf("has not come true within %v: %s", within, what)
	}
}

// Within polls until a condition holds, and reports whether it did in time.
func Within(limit time.Duration, holds func() bool) bool {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// text is a buffer that is written and read at the same time.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// tail is the last lines of a text, before the stacks of a dump.
func tail(s string, n int) string {
	s, _, _ = strings.Cut(s, "\nSIGQUIT")
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
