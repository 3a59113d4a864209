package plot

import (
	"fmt"
	"html"
	"strings"
	"time"
)

const (
	svgWidth, svgHeight      = 960, 420
	svgLeft, svgRight        = 70, 20
	svgTop, svgBottom        = 44, 74
	svgInner                 = svgWidth - svgLeft - svgRight
	svgTall                  = svgHeight - svgTop - svgBottom
	svgGridLines, svgTimings = 4, 6
)

// colours are told apart also by those who see no red and green.
var colours = []string{"#0b5fa5", "#d9822b", "#4a4a4a", "#7a3e9d"}

// SVG draws a chart as a picture that needs nothing else.
func SVG(c Chart) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`font-family="system-ui, sans-serif" font-size="12" fill="#333">`,
		svgWidth, svgHeight, svgWidth, svgHeight)
	put(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	put(`<text x="%d" y="24" font-size="16">%s</text>`, svgLeft, html.EscapeString(c.Title))
	top := 0.0
	for _, s := range c.Series {
		top = max(top, highest(s.Values))
	}
	top = ceiling(top)
	grid(put, c, top)
	// Bars first: a line is drawn over them.
	for i, s := range c.Series {
		if s.Bars {
			area(put, s, top, colours[(len(colours)+i)%len(colours)])
		}
	}
	for i, s := range c.Series {
		if !s.Bars {
			polyline(put, s, top, colours[i%len(colours)])
		}
	}
	legend(put, c)
	put(`</svg>`)
	return b.String()
}

// grid draws the axes and the marks.
func grid(put func(string, ...any), c Chart, top float64) {
	for i := range svgGridLines + 1 {
		y := svgTop + svgTall*i/svgGridLines
		put(`<path d="M%d %dH%d" stroke="#ddd"/>`, svgLeft, y, svgWidth-svgRight)
		put(`<text x="%d" y="%d" text-anchor="end">%s/s</text>`, svgLeft-8, y+4, Number(top*float64(svgGridLines-i)/svgGridLines))
	}
	for i := range svgTimings + 1 {
		label := "0s"
		if i > 0 {
			label = Span(c.Span * time.Duration(i) / svgTimings)
		}
		put(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, svgLeft+svgInner*i/svgTimings, svgTop+svgTall+18, label)
	}
	free := 0
	for _, m := range c.Marks {
		x := svgLeft + int(float64(m.At)/float64(c.Span)*svgInner)
		put(`<path d="M%d %dV%d" stroke="#999" stroke-dasharray="3 3"/>`, x, svgTop, svgTop+svgTall)
		if x >= free {
			put(`<text x="%d" y="%d" font-size="11" fill="#666">%s</text>`, x+3, svgTop-4, html.EscapeString(m.Name))
			free = x + 10 + 7*len(m.Name)
		}
	}
}

func area(put func(string, ...any), s Series, top float64, colour string) {
	var d strings.Builder
	fmt.Fprintf(&d, "M%d %d", svgLeft, svgTop+svgTall)
	n := float64(len(s.Values))
	for i, v := range s.Values {
		fmt.Fprintf(&d, "V%.1fH%.1f", svgTop+svgTall*(1-v/top), svgLeft+svgInner*float64(i+1)/n)
	}
	fmt.Fprintf(&d, "V%dZ", svgTop+svgTall)
	put(`<path d="%s" fill="%s" fill-opacity="0.35"/>`, d.String(), colour)
}

func polyline(put func(string, ...any), s Series, top float64, colour string) {
	var d strings.Builder
	last := float64(max(len(s.Values)-1, 1))
	for i, v := range s.Values {
		fmt.Fprintf(&d, "%.1f,%.1f ", svgLeft+svgInner*float64(i)/last, svgTop+svgTall*(1-v/top))
	}
	put(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(d.String()), colour)
}

func legend(put func(string, ...any), c Chart) {
	x, y := svgLeft, svgTop+svgTall+40
	for i, s := range c.Series {
		put(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, x, y-10, colours[i%len(colours)])
		put(`<text x="%d" y="%d">%s</text>`, x+18, y, html.EscapeString(s.Name))
		x += 40 + 7*len(s.Name)
	}
	for i, note := range c.Notes {
		put(`<text x="%d" y="%d" fill="#666">%s</text>`, svgLeft, y+18+14*i, html.EscapeString(note))
	}
}
