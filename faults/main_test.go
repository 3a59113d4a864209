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
)

// soon is how long things may take that take no time on an idle machine, and
// eventually those that take a while: the machine may be ten times slower.
const (
	soon       = time.Minute
	eventually = 4 * time.Minute
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
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("millrace/faults/internal/servers.keepThread"), goleak.Cleanup(func(code int) {
		if code == 0 {
			_ = os.RemoveAll(home)
		} else {
			fmt.Printf("the logs of engines and services are in %s\n", home)
		}
		os.Exit(code)
	}))
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

// jars is where `make services-up` puts Kafka.
func jars(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../.services/kafka-lib")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, ".complete"))
	}
	if err != nil {
		t.Fatalf("Kafka is not installed (%v); `make test-faults` installs it", err)
	}
	return dir
}

// pause lets faults and load go on for a while.
func pause(d time.Duration) { <-time.After(d) }

// report prints a line as the run goes.
func report(format string, args ...any) {
	fmt.Printf("%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
