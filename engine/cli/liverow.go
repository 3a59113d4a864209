package cli

import (
	"cmp"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/engine/cli/visible"
)

// liveRow is what there is to say of a route now.
type liveRow struct {
	route, state string
	reason       string // why it is not running, instead of cells
	cells        []cell // from the left
}

// cell is one thing that a live line shows.
type cell struct {
	column string
	text   string    // with the column's name: "in 1,000/s"
	attr   slog.Attr // the same for a log line
	rank   int       // of the columns that do not fit, the highest goes first
}

// Ranks: what is left out on a narrow terminal, the last first.
const (
	rankOut = iota + 1
	rankTrouble
	rankLag
	rankIn
	rankInFlight
	rankP99
	rankFine // a breaker that is closed
	rankOffered
	rankBatch
	rankP50
)

func (r *liveRow) rate(name string, perSecond float64, rank int) {
	perSecond = math.Round(perSecond)
	r.cells = append(r.cells, cell{name, name + " " + thousands(int64(perSecond)) + "/s", slog.Float64(name+"_per_s", perSecond), rank})
}

func (r *liveRow) count(name string, n int64, rank int) {
	r.cells = append(r.cells, cell{name, name + " " + thousands(n), slog.Int64(strings.ReplaceAll(name, " ", "_"), n), rank})
}

func (r *liveRow) latency(name string, d time.Duration, rank int) {
	r.cells = append(r.cells, cell{name, name + " " + short(d), slog.Float64(name+"_ms", float64(d.Microseconds())/1000), rank})
}

// word is the state of a stage, such as a breaker's.
func (r *liveRow) word(stage, state string) {
	rank := rankTrouble
	if state == "closed" {
		rank = rankFine
	}
	r.cells = append(r.cells, cell{stage, stage + " " + state, slog.String(stage, state), rank})
}

// attributes are those of the row's log line.
func (r *liveRow) attributes() []any {
	list := []any{slog.String("state", r.state)}
	if r.reason != "" {
		return append(list, slog.String("reason", r.reason))
	}
	for _, c := range r.cells {
		list = append(list, c.attr)
	}
	return list
}

// layout lines the rows up in at most width columns. Whole columns are left
// out, the same of every row: half a number would be a lie.
func layout(rows []liveRow, width int) []string {
	columns := columnsOf(rows)
	for {
		lines := liveLines(rows, columns, width)
		if widest(lines) <= width || len(columns) == 0 {
			for i := range lines {
				lines[i] = cut(visible.Line(lines[i]), width)
			}
			return lines
		}
		least := slices.MaxFunc(columns, func(a, b liveColumn) int { return cmp.Compare(a.rank, b.rank) })
		columns = slices.DeleteFunc(columns, func(c liveColumn) bool { return c.name == least.name })
	}
}

type liveColumn struct {
	name  string
	rank  int // the lowest of its cells: it is as important as the most important one
	width int
}

// columnsOf are the columns of all rows, in the order of the rows' cells.
func columnsOf(rows []liveRow) []liveColumn {
	var columns []liveColumn
	for _, r := range rows {
		next := 0 // where a column goes that is new
		for _, c := range r.cells {
			at := slices.IndexFunc(columns, func(k liveColumn) bool { return k.name == c.column })
			if at < 0 {
				at = next
				columns = slices.Insert(columns, at, liveColumn{c.column, c.rank, 0})
			}
			columns[at].rank = min(columns[at].rank, c.rank)
			columns[at].width = max(columns[at].width, utf8.RuneCountInString(c.text))
			next = at + 1
		}
	}
	return columns
}

func liveLines(rows []liveRow, columns []liveColumn, width int) []string {
	name, state := 0, 0
	for _, r := range rows {
		name, state = max(name, utf8.RuneCountInString(r.route)), max(state, len(r.state))
	}
	lines := make([]string, len(rows))
	for i, r := range rows {
		line := pad(r.route, name) + "  " + pad(r.state, state)
		if r.reason != "" {
			lines[i] = cut(line+"  "+strings.Join(strings.Fields(r.reason), " "), width)
			continue
		}
		for _, c := range columns {
			text := ""
			if at := slices.IndexFunc(r.cells, func(k cell) bool { return k.column == c.name }); at >= 0 {
				text = r.cells[at].text
			}
			line += "  " + pad(text, c.width)
		}
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}
