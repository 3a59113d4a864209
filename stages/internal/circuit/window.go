package circuit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
)

// Window is which calls count: the last Calls, or, when Span is not 0, those
// of the last Span. In a file it is a number or a duration.
type Window struct {
	Calls int           `yaml:"-"`
	Span  time.Duration `yaml:"-"`
}

// UnmarshalText reads "100" or "10s".
func (w *Window) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if n, err := strconv.Atoi(s); err == nil {
		*w = Window{Calls: n}
		return nil
	}
	var d stage.Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("want a number of calls such as 100, or a time such as 10s, got %q", s)
	}
	*w = Window{Span: d.Std()}
	return nil
}

// MarshalText writes the window as a file would.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// String writes the window as a file would.
func (w Window) String() string {
	if w.Span != 0 {
		return stage.Duration(w.Span).String()
	}
	return strconv.Itoa(w.Calls)
}

// tally makes the memory of a window that begins now.
func (w Window) tally(now time.Duration) tally {
	if w.Span == 0 {
		return newLastCalls(w.Calls)
	}
	t := newLastSeconds(int(w.Span / time.Second))
	t.second = int64(now / time.Second)
	return t
}

// minimum is how many results there must be for a rate when so many are asked
// for: no more than a window of calls can hold.
func (w Window) minimum(asked int) int {
	if w.Span == 0 {
		return min(asked, w.Calls)
	}
	return asked
}

// The largest windows take about a megabyte of memory.
const (
	mostCalls = 1_000_000
	mostSpan  = 12 * time.Hour
)

func (w Window) validate(p *stage.Problems) {
	switch {
	case w.Span == 0 && (w.Calls < 1 || w.Calls > mostCalls):
		p.Add("window", "must be at least 1 call and at most %d, or a time such as 10s, got %v", mostCalls, w)
	case w.Span != 0 && (w.Span < time.Second || w.Span > mostSpan || w.Span%time.Second != 0):
		p.Add("window", "must be whole seconds, at least 1s and at most %v, or a number of calls, got %v", mostSpan, w)
	}
}
