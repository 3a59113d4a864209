package plot

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// margin is the room for the numbers beside a panel.
const margin = 7

// Text draws a chart into so many columns and lines; it needs 40×10, and 80×24
// is what most terminals have.
func Text(c Chart, width, height int) string {
	width, height = max(width, 40), max(height, 10)
	lines := []string{cut(c.Title, width)}
	inner := width - margin
	rows := height - 1 - len(c.Notes)
	common := 0.0
	for _, s := range c.Series {
		common = max(common, highest(s.Values))
	}
	for i, s := range c.Series {
		top := highest(s.Values)
		if c.Common {
			top = common
		}
		share := rows / (len(c.Series) - i)
		if i == 0 && len(c.Series) > 1 {
			share = rows * 3 / 5
		}
		rows -= share
		lines = append(lines, panel(s, ceiling(top), inner, share-2)...)
		if i == 0 && len(c.Marks) > 0 {
			lines = append(lines, names(c, inner))
		} else {
			lines = append(lines, strings.Repeat(" ", margin)+cut(s.Name, inner))
		}
		lines = append(lines, axis(c.Span, inner))
	}
	for _, note := range c.Notes {
		lines = append(lines, cut(note, width))
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// panel draws a series with the numbers of its axis, which goes up to top.
func panel(s Series, top float64, width, height int) []string {
	height = max(height, 2)
	var rows []string
	if s.Bars {
		rows = bars(resample(s.Values, width), top, height)
	} else {
		rows = line(s.Values, top, width, height)
	}
	for i := range rows {
		label := ""
		switch i {
		case 0:
			label = Number(top)
		case height / 2:
			if height > 3 {
				label = Number(top * float64(height-i) / float64(height))
			}
		case height - 1:
			label = "0"
		}
		rows[i] = strings.Repeat(" ", max(margin-2-len(label), 0)) + label + " ┤" + rows[i]
	}
	return rows
}

// resample makes a series of averages, so that no peak between two columns is
// lost from the sum.
func resample(values []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		from, to := float64(i)*float64(len(values))/float64(n), float64(i+1)*float64(len(values))/float64(n)
		for j := int(from); j < len(values) && float64(j) < to; j++ {
			out[i] += values[j] * (min(to, float64(j+1)) - max(from, float64(j)))
		}
		out[i] /= to - from
	}
	return out
}

var blocks = []rune(" ▁▂▃▄▅▆▇█")

// bars draws columns of eighths.
func bars(values []float64, top float64, height int) []string {
	rows := make([]string, height)
	for i := range rows {
		var row strings.Builder
		for _, v := range values {
			eighths := int(math.Round(v/top*float64(height)*8)) - (height-1-i)*8
			row.WriteRune(blocks[min(max(eighths, 0), 8)])
		}
		rows[i] = row.String()
	}
	return rows
}

// dots are the bits of a braille character by row and column.
var dots = [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// line draws a curve with braille dots, two by four of them in a character. A
// column of dots is filled from the lowest to the highest value in it, and to
// the column before, so that steps and short peaks are seen.
func line(values []float64, top float64, width, height int) []string {
	cells := make([][]rune, height)
	for i := range cells {
		cells[i] = slices.Repeat([]rune{0x2800}, width)
	}
	across, down := width*2, height*4
	level := func(v float64) int { return down - 1 - min(int(v/top*float64(down-1)+0.5), down-1) }
	last := level(values[0])
	for x := range across {
		from := x * len(values) / across
		to := max((x+1)*len(values)/across, from+1)
		low, high := level(slices.Min(values[from:to])), level(slices.Max(values[from:to]))
		end := level(values[to-1])
		for y := min(high, last); y <= max(low, last); y++ {
			cells[y/4][x/2] |= dots[y%4][x%2]
		}
		last = end
	}
	rows := make([]string, height)
	for i := range rows {
		rows[i] = strings.ReplaceAll(string(cells[i]), "\u2800", " ")
	}
	return rows
}

// names writes the phases below where they begin, as far as there is room.
func names(c Chart, width int) string {
	row := []rune(strings.Repeat(" ", width))
	free := 0
	for _, m := range c.Marks {
		at := int(float64(m.At) / float64(c.Span) * float64(width))
		name := []rune("╵" + m.Name)
		if at < free || at+len(name) > width {
			continue
		}
		copy(row[at:], name)
		free = at + len(name) + 1
	}
	return strings.Repeat(" ", margin) + string(row)
}

// axis writes the time below a panel.
func axis(span time.Duration, width int) string {
	row := []rune(strings.Repeat(" ", width))
	const parts = 4
	for i := range parts + 1 {
		label := []rune(Span(span * time.Duration(i) / parts))
		if i == 0 {
			label = []rune("0s")
		}
		at := min(max(width*i/parts-len(label)/2, 0), width-len(label))
		copy(row[at:], label)
	}
	return strings.Repeat(" ", margin) + string(row)
}
