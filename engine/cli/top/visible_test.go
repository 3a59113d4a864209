package top

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"millrace/engine/cli/remote"
	"millrace/engine/load"
)

func TestNobodyWritesToTheTerminalThroughTheScreen(t *testing.T) {
	const trick = "\x1b]0;pwned\a\x1b[2J\u009b2J\u202e\nroot purged 1\r"
	s := at(4)
	s.Routes.Pipeline = trick
	r := &s.Routes.Routes[0]
	r.Name, r.State = "generate"+trick, trick
	r.Stages[2].Name, r.Stages[2].Kind = trick, trick
	r.Stages[1].Status[trick] = trick
	r.Stages[3].Status["state"] = trick
	s.Loads = map[string]load.Report{r.Name: {Name: trick, Phase: load.PhaseReport{Position: load.Position{Name: trick}, Of: 2}, Running: true}}
	parked := &s.Routes.Routes[1]
	parked.State, parked.Reason = trick, trick

	m := screen(t, 4, 100, 40)
	m = give(t, m, sampled{sample: s})
	second := m
	second.route = 1
	paused := give(t, m, steered{route: remote.Route{Name: trick, State: trick}})
	refused := give(t, m, changed{err: errors.New(trick)})
	away := give(t, m, sampled{err: errors.New(trick), at: noon})
	detail := m
	detail.detail = &breaker{Route: trick, Name: trick, State: trick, Since: noon}
	for name, m := range map[string]Model{"routes": m, "parked": second, "paused": paused, "refused": refused, "away": away, "breaker": detail} {
		lines := m.lines()
		if len(lines) != m.height {
			t.Errorf("%s: %d lines on a terminal of %d", name, len(lines), m.height)
		}
		for _, l := range lines {
			if i := strings.IndexFunc(l.text, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
				t.Errorf("%s: the terminal gets %q", name, l.text)
			}
		}
	}
	var out strings.Builder
	if err := Plain(&out, at(3), s, true); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "root purged") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("as tables: the terminal gets %q", line)
		}
	}
}
