package top

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/engine/cli/visible"
	"millrace/engine/load/plot"
)

// column is a column of a table. Of those that do not fit, the one with the
// highest rank goes first.
type column struct {
	title string
	rank  int
	left  bool // text, rather than a number
	cells []string
}

// draw lines columns up in a width; 0: however wide it gets.
func draw(columns []column, width int) []string {
	for {
		lines, wide := rows(columns)
		if width == 0 || wide <= width || len(columns) == 1 {
			return lines
		}
		worst := 0
		for i, c := range columns {
			if c.rank >= columns[worst].rank {
				worst = i
			}
		}
		if columns[worst].rank == 0 {
			return lines // only what cannot be left out is left, and will be cut
		}
		columns = slices.Delete(slices.Clone(columns), worst, worst+1)
	}
}

func rows(columns []column) (lines []string, wide int) {
	lines = make([]string, len(columns[0].cells)+1)
	for i, c := range columns {
		width := utf8.RuneCountInString(c.title)
		for _, cell := range c.cells {
			width = max(width, utf8.RuneCountInString(cell))
		}
		for j := range lines {
			cell := c.title
			if j > 0 {
				cell = visible.Line(c.cells[j-1])
			}
			if i > 0 {
				lines[j] += "  "
			}
			if c.left {
				lines[j] += pad(cell, width)
			} else {
				lines[j] += strings.Repeat(" ", width-utf8.RuneCountInString(cell)) + cell
			}
		}
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
		wide = max(wide, utf8.RuneCountInString(lines[i]))
	}
	return lines, wide
}

// routeColumns are what is shown of routes.
func routeColumns(routes []Route) []column {
	var columns []column
	add := func(title string, rank int, left bool, cell func(*Route) string) {
		c := column{title: title, rank: rank, left: left}
		for i := range routes {
			c.cells = append(c.cells, cell(&routes[i]))
		}
		columns = append(columns, c)
	}
	add("ROUTE", 0, true, func(r *Route) string { return r.Name })
	add("STATE", 0, true, func(r *Route) string { return r.State })
	add("OFFERED", 4, false, func(r *Route) string {
		if r.Load != nil && r.Load.Max {
			return "max"
		}
		return perSecond(r.Offered)
	})
	add("IN", 2, false, func(r *Route) string { return perSecond(r.In) })
	add("OUT", 1, false, func(r *Route) string { return perSecond(r.Out) })
	add("P50", 8, false, func(r *Route) string { return duration(r.P50) })
	add("P99", 3, false, func(r *Route) string { return duration(r.P99) })
	add("SVC50", 10, false, func(r *Route) string { return duration(r.ServiceP50) })
	add("SVC99", 5, false, func(r *Route) string { return duration(r.ServiceP99) })
	add("BATCH", 7, false, func(r *Route) string { return known(r.Batch) })
	add("FLIGHT", 5, false, func(r *Route) string { return number(float64(r.InFlight)) })
	if slices.ContainsFunc(routes, func(r Route) bool { return r.Lag >= 0 }) {
		add("LAG", 4, false, func(r *Route) string { return known(float64(r.Lag)) })
	}
	if slices.ContainsFunc(routes, func(r Route) bool { return r.breaker() != "" }) {
		rank := 6
		if slices.ContainsFunc(routes, func(r Route) bool { return r.troubled() }) {
			rank = 1
		}
		add("BREAKER", rank, true, func(r *Route) string { return r.breaker() })
	}
	for _, c := range []struct {
		title string
		of    func(*Route) int64
	}{
		{"POISON", func(r *Route) int64 { return r.Poisoned }}, {"SHED", func(r *Route) int64 { return r.Shed }},
		{"REJECT", func(r *Route) int64 { return r.Rejected }}, {"DIVERT", func(r *Route) int64 { return r.Diverted }},
	} {
		if slices.ContainsFunc(routes, func(r Route) bool { return c.of(&r) > 0 }) {
			add(c.title, 4, false, func(r *Route) string { return number(float64(c.of(r))) })
		}
	}
	return columns
}

// routeTable is the table of the routes with their last rates.
func routeTable(routes []Route, past map[string]*history, width int) []line {
	columns := routeColumns(routes)
	trend := column{title: "TREND", rank: 9, left: true}
	for _, r := range routes {
		trend.cells = append(trend.cells, trendOf(past[r.Name], 12))
	}
	texts := draw(append(columns, trend), width)
	lines := []line{{texts[0], faint}}
	for i, text := range texts[1:] {
		l := line{text: text}
		if s := routes[i].State; s == "parked" || s == "opening" || routes[i].troubled() {
			l.look = bad
		} else if s == "paused" {
			l.look = strong
		}
		lines = append(lines, l)
	}
	return lines
}

// breaker is the state of the route's breakers: that of the first one that is
// not closed; "": it has none.
func (r *Route) breaker() (state string) {
	for _, s := range r.Stages {
		if s.State != "" && (state == "" || state == "closed") {
			state = s.State
		}
	}
	return state
}

// troubled says whether a breaker holds the route up.
func (r *Route) troubled() bool {
	return strings.Contains(r.breaker(), "open")
}

func trendOf(h *history, width int) string {
	if h == nil {
		return ""
	}
	top := 1.0
	for _, v := range h.in[max(0, len(h.in)-width):] {
		top = max(top, v)
	}
	return spark(h.in, top, width, 1)[0]
}

// stageTable is the table of a route's stages.
func stageTable(r *Route, past map[string]*history, width int) []line {
	var columns []column
	add := func(title string, rank int, left bool, cell func(*Stage) string) {
		c := column{title: title, rank: rank, left: left}
		for i := range r.Stages {
			c.cells = append(c.cells, cell(&r.Stages[i]))
		}
		columns = append(columns, c)
	}
	add("STAGE", 0, true, func(s *Stage) string { return s.Name })
	add("KIND", 5, true, func(s *Stage) string { return s.Kind })
	add("IN", 1, false, func(s *Stage) string { return perSecond(s.Events) })
	add("P50", 3, false, func(s *Stage) string { return duration(s.P50) })
	add("P99", 2, false, func(s *Stage) string { return duration(s.P99) })
	add("ERRORS", 2, false, func(s *Stage) string { return perSecond(s.Errors) })
	if past != nil {
		add("TREND", 6, true, func(s *Stage) string { return trendOf(past[r.Name+"/"+s.Name], 12) })
	}
	// What a stage shows of itself may be long: it is cut, and the numbers stay.
	_, wide := rows(columns)
	if width > 0 && wide > width-34 {
		columns = slices.DeleteFunc(columns, func(c column) bool { return c.rank > 4 })
		_, wide = rows(columns)
	}
	add("SHOWS", 0, true, func(s *Stage) string {
		if width == 0 {
			return s.Shows
		}
		return cut(s.Shows, max(width-wide-2, 8))
	})
	texts, _ := rows(columns)
	lines := []line{{texts[0], faint}}
	for i, text := range texts[1:] {
		l := line{text: text}
		if s := r.Stages[i].State; s != "" && s != "closed" {
			l.look = bad
		}
		lines = append(lines, l)
	}
	return lines
}

// Plain writes a frame as text: for logs, pipes and one look. stages asks for
// those as well.
func Plain(w io.Writer, last, now Sample, stages bool) error {
	f := compare(last, now)
	text := fmt.Sprintf("%s %s\n", f.At.Format(time.TimeOnly), visible.Line(f.Pipeline))
	for _, l := range draw(routeColumns(f.Routes), 0) {
		text += l + "\n"
	}
	for i := range f.Routes {
		r := &f.Routes[i]
		if r.Reason != "" {
			text += visible.Line(stands(r)) + "\n"
		}
		if r.Load != nil {
			text += visible.Line(r.Name+" "+strings.Join(strings.Fields(loadLine(r)), " ")) + "\n"
		}
		if !stages || len(r.Stages) == 0 {
			continue
		}
		text += "\nroute " + visible.Line(r.Name) + "\n"
		for _, l := range stageTable(r, nil, 0) {
			text += "  " + l.text + "\n"
		}
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}

// stands says why a route does not read.
func stands(r *Route) string {
	if r.Paused.IsZero() {
		return r.Name + " is " + r.State + ": " + r.Reason
	}
	return r.Name + " is " + r.Reason + " since " + r.Paused.Format(time.TimeOnly)
}

var blocks = []rune(" ▁▂▃▄▅▆▇█")

// spark draws the last of some values, the newest at the right, as columns of
// eighths that go up to top. Something is always seen of what is above 0.
func spark(values []float64, top float64, width, tall int) []string {
	values = values[max(0, len(values)-width):]
	lines := make([]string, tall)
	for row := range lines {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", width-len(values)))
		for _, v := range values {
			eighths := int(math.Round(v / top * float64(tall) * 8))
			if v > 0 {
				eighths = max(eighths, 1)
			}
			b.WriteRune(blocks[min(max(eighths-(tall-1-row)*8, 0), 8)])
		}
		lines[row] = b.String()
	}
	return lines
}

func number(v float64) string { return plot.Number(max(v, 0)) }

// known writes a number; nothing for what is not known.
func known(v float64) string {
	if v < 0 {
		return "-"
	}
	return number(v)
}

func perSecond(v float64) string {
	if v < 0 {
		return "-"
	}
	return number(v) + "/s"
}

// duration writes seconds with two or three digits.
func duration(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case s < 0:
		return "-"
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
