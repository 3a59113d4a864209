//go:build faults

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/engineproc"
	"millrace/internal/leaks"
)

// soon is how long things may take that take no time on an idle machine, and
// eventually those that take a while: the machine may be ten times slower.
const (
	soon       = 3 * time.Minute
	eventually = 6 * time.Minute
)

var (
	engine engineproc.Binary // built once for all tests
	home   string            // of all that the tests write; kept when one fails
)

func TestMain(m *testing.M) {
	err := prepare()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leaks.MainThen(run{m}, func(code int) {
		if code == 0 {
			_ = os.RemoveAll(home)
		} else {
			fmt.Printf("the logs of engines and services are in %s\n", home)
		}
		os.Exit(code)
	}, goleak.IgnoreAnyFunction("millrace/internal/child.keepThread"))
}

// prepare makes the directory, which PostgreSQL, run by somebody else, can get
// through, and builds the engine.
func prepare() (err error) {
	if home, err = os.MkdirTemp("", "millrace-faults-"); err != nil {
		return err
	}
	if err = os.Chmod(home, 0o711); err != nil {
		return err
	}
	engine, err = engineproc.Build(home)
	return err
}

// run runs the tests and ends the services they shared.
type run struct{ *testing.M }

func (r run) Run() int {
	code := r.M.Run()
	if shared != nil {
		shared.close()
	}
	return code
}

// jars is where `make services-up` puts Kafka.
func jars() (string, error) {
	dir, err := filepath.Abs("../.services/kafka-lib")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, ".complete"))
	}
	if err != nil {
		return "", fmt.Errorf("kafka is not installed; `make test-faults` installs it: %w", err)
	}
	return dir, nil
}

// await polls until a condition holds, and fails the test when that takes longer
// than limit. It asks engines and a database that have little of the machine, and
// so it does not ask often.
func await(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !comesTrue(limit, holds) {
		t.Fatalf("has not come true within %v: %s", limit, what)
	}
}

// comesTrue polls until a condition holds, and reports whether it did in time.
func comesTrue(limit time.Duration, holds func() bool) bool {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// pause lets faults and load go on for a while.
func pause(d time.Duration) { <-time.After(d) }

// report prints a line as the run goes.
func report(format string, args ...any) {
	fmt.Printf("%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// loud is a test whose failures are printed when they happen: those of a subtest
// would come only at the end of all.
type loud struct{ *testing.T }

func (t loud) Error(args ...any) { t.Helper(); t.say(fmt.Sprint(args...)); t.T.Error(args...) }

func (t loud) Errorf(format string, args ...any) {
	t.Helper()
	t.say(fmt.Sprintf(format, args...))
	t.T.Errorf(format, args...)
}

func (t loud) Fatal(args ...any) { t.Helper(); t.say(fmt.Sprint(args...)); t.T.Fatal(args...) }

func (t loud) Fatalf(format string, args ...any) {
	t.Helper()
	t.say(fmt.Sprintf(format, args...))
	t.T.Fatalf(format, args...)
}

func (t loud) say(what string) { report("   %s: %s", t.Name(), what) }
