package stdin

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"millrace/engine/stagetest"
)

// terminal is a terminal of the test's own: what is typed, and where it arrives.
func terminal(t *testing.T) (keys, screen *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return keys, screen
}

func TestATerminalIsToldThatInputIsAwaitedAndEndsWithCtrlD(t *testing.T) {
	keys, screen := terminal(t)
	var log bytes.Buffer
	s := stagetest.Settings(t)
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := from(t, screen, s)
	if !strings.Contains(log.String(), "waiting for lines") || !strings.Contains(log.String(), "ctrl-D") {
		t.Errorf("the log says %q", log.String())
	}
	if _, err := keys.WriteString("hello\nlast\n\x04"); err != nil {
		t.Fatal(err)
	}
	if got, _ := all(t, r); !slices.Equal(got, []string{"hello", "last"}) {
		t.Errorf("got %q", got)
	}
}
