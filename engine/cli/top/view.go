package top

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"millrace/engine/cli/remote"
	"millrace/engine/cli/visible"
)

// look is how a line is printed.
type look int

const (
	plain look = iota
	strong
	faint
	bad
	chosen
)

var looks = map[look]lipgloss.Style{
	strong: lipgloss.NewStyle().Bold(true),
	faint:  lipgloss.NewStyle().Faint(true),
	bad:    lipgloss.NewStyle().Foreground(lipgloss.Red),
	chosen: lipgloss.NewStyle().Reverse(true),
}

// line is a line of the screen.
type line struct {
	text string
	look look
}

// View draws the screen.
func (m Model) View() tea.View {
	lines := m.lines()
	text := make([]string, len(lines))
	for i, l := range lines {
		text[i] = l.text
		if style, ok := looks[l.look]; ok {
			text[i] = style.Render(l.text)
		}
	}
	v := tea.NewView(strings.Join(text, "\n"))
	v.AltScreen = true
	v.WindowTitle = "engine top " + m.client.Addr
	return v
}

// lines are the lines of the screen, as many as it has, none too long.
func (m Model) lines() []line {
	var lines []line
	if m.seen {
		lines = m.body()
	}
	lines = append([]line{m.title()}, lines...)
	foot := m.foot()
	if room := m.height - len(foot); len(lines) > room {
		lines = lines[:max(room, 0)]
	} else {
		lines = append(lines, slices.Repeat([]line{{}}, room-len(lines))...)
	}
	lines = append(lines, foot...)
	lines = lines[:min(len(lines), m.height)]
	for i := range lines {
		lines[i].text = strings.TrimRight(cut(visible.Line(lines[i].text), m.width), " ")
		if lines[i].look == chosen {
			lines[i].text = pad(lines[i].text, m.width)
		}
	}
	return lines
}

func (m Model) title() line {
	if m.away != nil {
		return line{fmt.Sprintf("no engine answers at %s since %s; still trying", m.client.Addr, m.since.Format(time.TimeOnly)), bad}
	}
	if !m.seen {
		return line{"asking " + m.client.Addr + " …", faint}
	}
	running := 0
	for _, r := range m.frame.Routes {
		if r.State == "running" {
			running++
		}
	}
	left := fmt.Sprintf("%s at %s, %d of %d routes running", m.frame.Pipeline, m.client.Addr, running, len(m.frame.Routes))
	clock := m.frame.At.Format(time.TimeOnly)
	return line{pad(left, m.width-len(clock)-1) + " " + clock, strong}
}

// foot is what was said last, and the keys.
func (m Model) foot() []line {
	said := line{text: strings.ReplaceAll(m.said, "\n", "; ")}
	if m.failed {
		said.look = bad
	}
	if m.away != nil && m.said == "" {
		said = line{strings.ReplaceAll(m.away.Error(), "\n", "; "), faint}
	}
	keys := "↑↓ choose  enter breaker  space pause or resume the route  q quit"
	if m.detail != nil {
		keys = "esc back  space pause or resume the route  q quit"
	}
	if m.loaded() == nil || m.height < 16 {
		return []line{said, {keys, faint}}
	}
	return []line{said, {keys, faint}, {"load: + double  - halve  p pause  h hold  r resume  n next phase", faint}}
}

// body is everything between title and foot. What there is no room for is
// left out at the end of its part, and said so.
func (m Model) body() []line {
	r := m.chosen()
	if r == nil {
		return []line{{}, {text: "this engine has no routes"}}
	}
	middle := m.middle(r)
	below := m.stages(r)
	if m.detail != nil {
		below = m.detail.lines(m.frame.At)
	}
	room := m.height - 4 - len(m.foot()) - len(middle) // title and the empty lines between
	routes := routeTable(m.frame.Routes, m.history, m.width)
	if m.stage < 0 {
		routes[m.route+1].look = chosen
	} else {
		routes[m.route+1].look = strong
	}
	// The routes get what the stages leave, but at least half.
	forRoutes := max(room-len(below), room/2, 2)
	routes = window(routes, m.route+1, forRoutes)
	if m.detail == nil {
		below = window(below, m.stage+1, room-len(routes))
	}
	lines := append([]line{{}}, routes...)
	lines = append(lines, line{})
	lines = append(lines, middle...)
	if len(middle) > 0 {
		lines = append(lines, line{})
	}
	return append(lines, below...)
}

// window cuts a table, of which the first line always stays, to a height so
// that one of its lines is seen.
func window(lines []line, at, height int) []line {
	if len(lines) <= height || height < 3 {
		return lines[:max(min(len(lines), height), 0)]
	}
	rows, room := lines[1:], height-2
	from := min(max(at-1-room/2, 0), len(rows)-room)
	out := append([]line{lines[0]}, rows[from:from+room]...)
	return append(out, line{fmt.Sprintf("… %d more", len(rows)-room), faint})
}

// middle is how the chosen route's load stands, and its last minutes.
func (m Model) middle(r *Route) []line {
	var lines []line
	switch {
	case !r.Paused.IsZero():
		lines = append(lines, line{fmt.Sprintf("%s is %s since %s; space resumes it",
			r.Name, r.Reason, r.Paused.In(m.frame.At.Location()).Format(time.TimeOnly)), strong})
	case r.Reason != "":
		for _, l := range wrap(r.Name+" is "+r.State+": "+r.Reason, m.width) {
			lines = append(lines, line{l, bad})
		}
		return lines
	}
	if r.Load != nil {
		lines = append(lines, line{loadLine(r), plain})
	}
	h := m.historyOf(r.Name)
	top := 1.0
	for _, v := range append(slices.Clone(h.offered), h.in...) {
		top = max(top, v)
	}
	tall := 1
	if m.height >= 36 {
		tall = 3
	}
	width := max(m.width-18, 0)
	add := func(name string, values []float64, now float64) {
		for i, row := range spark(values, top, width, tall) {
			text := pad("", 10)
			if i == 0 {
				text = pad(name, 10)
			}
			text += row
			if i == tall-1 {
				text += " " + number(now) + "/s"
			}
			lines = append(lines, line{text, plain})
		}
	}
	if r.Load != nil {
		add("offered", h.offered, r.Offered)
	}
	add("in", h.in, r.In)
	return lines
}

// loadLine says how a load stands.
func loadLine(r *Route) string {
	l := r.Load
	text := pad("load", 10) + remote.Profile(l)
	if l.Phase.Of > 1 {
		text += ", phase " + remote.Phase(l)
	}
	if l.Phase.Left > 0 {
		text += ", " + remote.Seconds(l.Phase.Left) + " left"
	}
	if l.Scale != 1 {
		text += ", scale " + remote.Factor(l.Scale)
	}
	text += ", " + remote.State(l)
	if l.Behind > 0 {
		text += ", " + number(float64(l.Behind)) + " behind"
	}
	if l.Late.Dropped > 0 {
		text += ", " + number(float64(l.Late.Dropped)) + " left out"
	}
	return text
}

// stages is the table of the chosen route's stages.
func (m Model) stages(r *Route) []line {
	if len(r.Stages) == 0 {
		return nil
	}
	lines := stageTable(r, m.history, m.width)
	if m.stage >= 0 && m.stage < len(r.Stages) {
		lines[m.stage+1].look = chosen
	}
	return lines
}

// lines is all about a breaker.
func (b *breaker) lines(now time.Time) []line {
	percent := func(v float64) string {
		if v < 0 {
			return "too few calls to say"
		}
		return fmt.Sprintf("%.1f %%", v)
	}
	since := "…"
	if !b.Since.IsZero() {
		since = fmt.Sprintf("%s, since %s (%s)",
			b.State, b.Since.In(now.Location()).Format(time.TimeOnly), remote.Seconds(max(now.Sub(b.Since), 0).Seconds()))
	}
	rows := [][2]string{
		{"state", since},
		{"failures", percent(b.Failures)},
		{"slow calls", percent(b.Slow)},
		{"window", fmt.Sprintf("%d calls, %d failed, %d slow", b.Window.Calls, b.Window.Failed, b.Window.Slow)},
		{"opened", fmt.Sprintf("%d times in a row", b.Attempts)},
		{"waiting", fmt.Sprintf("%d batches", b.Waiting)},
		{"in all", fmt.Sprintf("%s went well, %s failed, %s not permitted, %s ignored", number(float64(b.Totals.Successful)),
			number(float64(b.Totals.Failed)), number(float64(b.Totals.NotPermitted)), number(float64(b.Totals.Ignored)))},
	}
	lines := []line{{"BREAKER " + b.Route + "/" + b.Name, strong}}
	for _, r := range rows {
		l := line{pad("  "+r[0], 14) + r[1], plain}
		if r[0] == "state" && b.State != "closed" {
			l.look = bad
		}
		lines = append(lines, l)
	}
	return lines
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func cut(text string, width int) string {
	if r := []rune(text); len(r) > width {
		return string(r[:max(width-1, 0)]) + "…"
	}
	return text
}

// wrap breaks a text into lines of a width.
func wrap(text string, width int) (lines []string) {
	at := ""
	for _, word := range strings.Fields(text) {
		if at != "" && utf8.RuneCountInString(at)+1+utf8.RuneCountInString(word) > width {
			lines, at = append(lines, at), "  "+word
			continue
		}
		at = strings.TrimPrefix(at+" "+word, " ")
	}
	return append(lines, at)
}
