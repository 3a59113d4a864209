package main

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
)

// process is one side at work.
type process struct {
	cmd     *exec.Cmd
	log     bytes.Buffer // read only after the end
	started time.Time
	exited  chan error
}

// usage is what the operating system says of a process that has ended.
type usage struct {
	wall, cpu time.Duration
	rssMB     float64
}

// launch starts a command with the environment and some more.
func (b *bench) launch(env map[string]string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(b.ctx, name, args...), exited: make(chan error, 1)}
	p.cmd.Env = os.Environ()
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = time.Minute
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.exited <- p.cmd.Wait() }()
	return p, nil
}

// stop asks the process to end, as an operator would.
func (p *process) stop() { _ = p.cmd.Process.Signal(syscall.SIGTERM) } // one that has ended is what we want

// wait waits for a clean end.
func (p *process) wait() (usage, error) {
	err := <-p.exited
	u := usage{wall: time.Since(p.started)}
	if state := p.cmd.ProcessState; state != nil {
		u.cpu = state.UserTime() + state.SystemTime()
		if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
			u.rssMB = float64(ru.Maxrss) / 1024
		}
	}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(p.cmd.Args, " "), err, tail(p.log.String(), 20))
	}
	return u, nil
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case err := <-p.exited:
		p.exited <- err
		return true
	default:
		return false
	}
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// until polls until something is so.
func until(ctx context.Context, p *process, every, within time.Duration, holds func() (bool, error)) error {
	poll := time.NewTicker(every)
	defer poll.Stop()
	for deadline := time.Now().Add(within); ; {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		if p.ended() {
			_, err := p.wait()
			return fmt.Errorf("ended before it was done: %w\n%s", err, tail(p.log.String(), 20))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not done within %v", within)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// services are the CPU seconds that Kafka and Postgres have used so far.
type services struct{ kafka, postgres float64 }

func (s services) since(before services) services {
	return services{s.kafka - before.kafka, s.postgres - before.postgres}
}

// serviceCPU looks at the processes that deploy/local has started; zero for
// services that are elsewhere.
func (b *bench) serviceCPU() services {
	home := filepath.Join(b.root, ".services")
	kafka, postgres := pidIn(filepath.Join(home, "kafka.pid")), pidIn(filepath.Join(home, "postgres/db/postmaster.pid"))
	s := services{kafka: cpuOf(kafka, false), postgres: cpuOf(postgres, true)}
	for _, child := range childrenOf(postgres) {
		s.postgres += cpuOf(child, false)
	}
	return s
}

func pidIn(file string) int {
	text, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}

// ticks of the kernel's accounting, in all that Go runs on.
const ticks = 100

// cpuOf is the CPU seconds of a process, with those of its ended children if
// wanted.
func cpuOf(pid int, ended bool) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 15 {
		return 0
	}
	sum := 0.0
	last := 13 // utime, stime
	if ended {
		last = 15 // cutime, cstime
	}
	for _, f := range fields[11:last] {
		n, _ := strconv.ParseFloat(f, 64)
		sum += n
	}
	return sum / ticks
}

func childrenOf(pid int) (children []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(text)) {
		child, _ := strconv.Atoi(f)
		children = append(children, child)
	}
	return children
}
