// Package servers runs the services a pipeline depends on (Kafka, PostgreSQL,
// Redis) as child processes that can be stopped, killed, frozen and started
// again, each on ports and in a directory of its own. They end with the process
// that started them, however that ends.
//
// The programs are those that `make services-up` installs.
package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace/internal/child"
)

// startTime is how long a service may take until it answers, and stopTime until
// it has ended, on a slow machine.
const (
	startTime = 5 * time.Minute
	stopTime  = 2 * time.Minute
)

// Server is one service. Its methods are called from one goroutine at a time.
type Server struct {
	name    string
	dir     string // its files, its log among them
	stop    syscall.Signal
	command func() (*exec.Cmd, error)
	answers func(context.Context) error

	cmd    *exec.Cmd // nil: not running
	exited chan struct{}
	frozen []int
}

// Name is what to call it in a line about a fault.
func (s *Server) Name() string { return s.name }

// Start starts the service and returns when it answers. One that runs is left
// alone.
func (s *Server) Start() error {
	if s.cmd != nil {
		return nil
	}
	cmd, err := s.command()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := child.Start(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", s.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a service that was killed has no good end
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	return s.await()
}

// await waits until the service answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		asked, done := context.WithTimeout(ctx, 5*time.Second)
		err := s.answers(asked)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			s.cmd = nil
			return fmt.Errorf("%s ended before it answered; see %s", s.name, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s has not answered within %v (see %s): %w", s.name, startTime, s.Log(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Log is the file with what the service says.
func (s *Server) Log() string { return filepath.Join(s.dir, s.name+".log") }

// Stop ends the service as its operator would.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	s.Resume()
	return s.end([]int{s.cmd.Process.Pid}, s.stop)
}

// Kill ends the service and all its processes as kill -9 does.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	return s.end(s.family(), syscall.SIGKILL)
}

func (s *Server) end(pids []int, signal syscall.Signal) error {
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal) // one that has just ended is no problem
	}
	select {
	case <-s.exited:
		s.cmd, s.frozen = nil, nil
		return nil
	case <-time.After(stopTime):
		return fmt.Errorf("%s has not ended within %v of %v", s.name, stopTime, signal)
	}
}

// Freeze stops all its processes where they are, as SIGSTOP does: connections
// stay, and nobody answers.
func (s *Server) Freeze() {
	if s.cmd == nil {
		return
	}
	s.frozen = s.family()
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume lets them go on.
func (s *Server) Resume() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.frozen = nil
}

// family is the process and its children, the parent first.
func (s *Server) family() []int {
	pid := s.cmd.Process.Pid
	pids := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// run runs a command to its end; the error has what it said.
func run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return nil
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
