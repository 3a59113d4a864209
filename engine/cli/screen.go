package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// screen is where log lines and the live lines share a terminal: the live
// lines stay at the bottom, log lines go above them. Elsewhere it only passes
// log lines on. Safe for concurrent use.
type screen struct {
	out      io.Writer
	terminal bool
	fd       int

	mu   sync.Mutex
	live []string // the lines at the bottom now
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal, s.fd = true, int(f.Fd())
	}
	return s
}

// Write writes log lines above the live lines.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) == 0 {
		return s.out.Write(p)
	}
	if _, err := io.WriteString(s.out, s.erased()+string(p)+strings.Join(s.live, "\n")+"\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show puts up new live lines; none takes them away.
func (s *screen) show(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.erased()
	s.live = s.live[:0]
	width, _, err := term.GetSize(s.fd)
	if err != nil || width < 20 {
		width = 80
	}
	for _, l := range lines {
		// A line that wraps could not be erased again.
		if r := []rune(l); len(r) >= width {
			l = string(r[:width-1])
		}
		s.live = append(s.live, l)
		text += l + "\n"
	}
	_, _ = io.WriteString(s.out, text) // a terminal that is gone shows nothing
}

// erased is what takes the live lines off the terminal.
func (s *screen) erased() string {
	if len(s.live) == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", len(s.live))
}
