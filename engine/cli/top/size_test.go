package top

import (
	"testing"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

func TestTheScreenFitsAnyTerminal(t *testing.T) {
	for _, seen := range []int{0, 1, 10} {
		m := screen(t, seen, 0, 0)
		for _, width := range []int{0, 1, 2, 8, 9, 17, 18, 19, 33, 40, 60} {
			for height := range 40 {
				m := give(t, m, tea.WindowSizeMsg{Width: width, Height: height})
				wide, high := width, height
				if width == 0 || height == 0 { // it does not know: as at the beginning
					wide, high = 80, 24
				}
				lines := m.lines()
				if len(lines) != high {
					t.Fatalf("%d by %d: %d lines", width, height, len(lines))
				}
				for _, l := range lines {
					if utf8.RuneCountInString(l.text) > wide {
						t.Fatalf("%d by %d: %q", width, height, l.text)
					}
				}
			}
		}
	}
}
