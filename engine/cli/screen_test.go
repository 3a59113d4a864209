package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// terminal is what a person sees: text, and the two control codes that the
// screen uses.
type terminal struct {
	lines []string
	row   int
}

var codes = regexp.MustCompile(`\r\x1b\[(\d+)A\x1b\[J|\n|[^\n\r\x1b]+`)

func (m *terminal) Write(p []byte) (int, error) {
	for _, part := range codes.FindAllStringSubmatch(string(p), -1) {
		switch {
		case part[1] != "":
			up, _ := strconv.Atoi(part[1])
			m.row -= up
			m.lines = m.lines[:m.row]
		case part[0] == "\n":
			m.row++
		default:
			m.lines = append(m.lines[:m.row:m.row], part[0])
		}
	}
	return len(p), nil
}

func (m *terminal) String() string { return strings.Join(m.lines, "\n") }

func rows(names ...string) []liveRow {
	var list []liveRow
	for _, n := range names {
		list = append(list, liveRow{route: n, state: "running"})
	}
	return list
}

func TestLogLinesGoAboveTheLiveLines(t *testing.T) {
	seen := &terminal{}
	s := &screen{out: seen, width: func() int { return 80 }}
	write := func(line string) {
		t.Helper()
		if n, err := fmt.Fprintln(s, line); err != nil || n != len(line)+1 {
			t.Fatalf("wrote %d bytes, %v", n, err)
		}
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { write("started") }, "started"},
		{func() { s.show(rows("a", "b")) }, "started\na  running\nb  running"},
		{func() { write("trouble") }, "started\ntrouble\na  running\nb  running"},
		{func() { s.show(rows("a")) }, "started\ntrouble\na  running"},
		{func() { s.show(rows("a", "c")) }, "started\ntrouble\na  running\nc  running"},
		{func() { s.show(nil) }, "started\ntrouble"},
		{func() { write("done") }, "started\ntrouble\ndone"},
	} {
		step.do()
		if got := seen.String(); got != step.want {
			t.Fatalf("the terminal shows\n%s\nwant\n%s", got, step.want)
		}
	}
}

func TestALiveLineLeavesTheLastColumnFree(t *testing.T) {
	seen := &terminal{}
	s := &screen{out: seen, width: func() int { return 12 }}
	s.show(rows("a_long_name"))
	if got := seen.String(); len([]rune(got)) != 11 {
		t.Errorf("%q has %d columns; a full line would wrap on some terminals and could not be erased", got, len([]rune(got)))
	}
}

func TestOnlyATerminalIsOne(t *testing.T) {
	if s := newScreen(&bytes.Buffer{}); s.terminal() {
		t.Error("a buffer is taken for a terminal")
	}
	if got := proseWidthOf(&bytes.Buffer{}); got != 100 {
		t.Errorf("text for a file is broken at %d", got)
	}
}
