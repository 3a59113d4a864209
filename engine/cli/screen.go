package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// screen is where log lines and the live lines share a terminal: the live
// lines stay at the bottom, log lines go above them. Elsewhere it only passes
// log lines on. Safe for concurrent use.
type screen struct {
	out   io.Writer
	width func() int // of the terminal now; 0: there is none

	mu   sync.Mutex
	live []string // the lines at the bottom now
}

func newScreen(out io.Writer) *screen {
	return &screen{out: out, width: func() int { return terminalWidth(out) }}
}

// terminal says whether people look at it.
func (s *screen) terminal() bool { return s.width() > 0 }

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
func (s *screen) show(rows []liveRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.erased()
	// One column less than there are: a line that wraps could not be erased again.
	s.live = layout(rows, s.width()-1)
	for _, l := range s.live {
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
