// Package plot draws load profiles, and how a run kept to one, before and after
// anything is sent: as text for a terminal and as SVG. It is arithmetic on
// strings; the same chart is always the same picture.
package plot

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"millrace/engine/load"
)

// Chart is what is drawn: rates over a span of time, each series in a panel of
// its own in a terminal, and over each other in SVG.
type Chart struct {
	Title  string
	Notes  []string // lines below
	Span   time.Duration
	Series []Series
	Marks  []Mark
	Common bool // the panels have the same scale, to be compared
}

// Series is a rate over the span, in events per second, at equal distances.
type Series struct {
	Name   string
	Values []float64
	Bars   bool // drawn as bars instead of a line
}

// Mark is a moment with a name, such as the beginning of a phase.
type Mark struct {
	At   time.Duration
	Name string
}

const (
	points    = 600       // of a curve
	buckets   = 240       // of arrivals
	maxEvents = 5_000_000 // random arrivals that are drawn one by one
)

// Of is the chart of a plan: its curve and its arrivals over a span; 0: over
// its outline. An unlimited plan has neither.
func Of(p *load.Plan, over time.Duration) Chart {
	if over <= 0 {
		over = p.Outline()
	}
	c := Chart{Title: title(p), Span: over}
	if _, again := p.Run(); again {
		return replayed(p, over)
	}
	if p.Unlimited() {
		c.Notes = []string{"As many events as the route takes: there is no curve to draw."}
		return c
	}
	c.Series = []Series{{Name: "rate", Values: curve(p, over)}}
	events := p.Total(over)
	c.Notes = []string{fmt.Sprintf("%s events in %s: %s/s on average, %s/s at the highest.",
		Number(events), Span(over), Number(events/over.Seconds()), Number(highest(c.Series[0].Values)))}
	if events <= maxEvents || p.Evenly() {
		c.Series = append(c.Series, arrivals(p, over))
	} else {
		c.Notes = append(c.Notes, "Too many events to draw their arrivals; choose a shorter span.")
	}
	c.Marks = marks(p, over)
	return c
}

// replayed is the chart of a run that is played again, with its changes.
func replayed(p *load.Plan, over time.Duration) Chart {
	rates := p.Sample(over, points)
	sum := 0.0
	for _, r := range rates {
		sum += r * over.Seconds() / points
	}
	return Chart{
		Title: p.Name + ", a run with its changes, " + Span(over), Span: over,
		Series: []Series{{Name: "rate", Values: rates}},
		Notes:  []string{fmt.Sprintf("About %s events in %s, %s/s at the highest.", Number(sum), Span(over), Number(highest(rates)))},
	}
}

func title(p *load.Plan) string {
	name := p.Name
	if name == "" {
		name = "load " + p.Hash()
	}
	if p.Length() == load.Endless {
		return name + ", for ever"
	}
	return name + ", " + Span(p.Length())
}

func curve(p *load.Plan, over time.Duration) []float64 {
	values := make([]float64, points+1)
	for i := range values {
		at := time.Duration(float64(over) * float64(i) / points)
		values[i] = p.Rate(min(at, p.Length()-1))
	}
	return values
}

// arrivals counts events in buckets. These are no shorter than needed to show
// something: a bucket in which two events are expected is mostly chance.
func arrivals(p *load.Plan, over time.Duration) Series {
	n := buckets
	for n > 30 && p.Total(over)/float64(n) < 5 {
		n /= 2
	}
	counts := p.Count(over, n)
	each := over.Seconds() / float64(n)
	for i := range counts {
		counts[i] /= each
	}
	return Series{Name: "arrivals per " + Span(over/time.Duration(n)), Values: counts, Bars: true}
}

func marks(p *load.Plan, over time.Duration) (marks []Mark) {
	for i := range p.Phases() {
		if at := p.Start(i); at < over {
			marks = append(marks, Mark{at, p.Position(at).Name})
		}
	}
	return marks
}

func highest(values []float64) (top float64) {
	for _, v := range values {
		top = max(top, v)
	}
	return top
}

// ceiling is a round number at or above a value, for the end of an axis.
func ceiling(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 1) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if v <= step*unit*(1+1e-9) {
			return step * unit
		}
	}
	return 10 * unit
}

// Number writes a number for people, with three digits: 950, 1.5k, 20M.
func Number(v float64) string {
	unit := ""
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= u.size*0.9995 {
			v, unit = v/u.size, u.name
			break
		}
	}
	digits := 2
	switch {
	case v >= 99.95:
		digits = 0
	case v >= 9.995:
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		for text[len(text)-1] == '0' {
			text = text[:len(text)-1]
		}
		if text[len(text)-1] == '.' {
			text = text[:len(text)-1]
		}
	}
	return text + unit
}

// Span writes a length of time for people, with its two largest units.
func Span(d time.Duration) string {
	round := func(to time.Duration) string {
		text := d.Round(to).String()
		for _, zero := range []string{"m0s", "h0m"} {
			if n := len(text) - len(zero) + 1; n > 0 && text[n-1:] == zero {
				text = text[:n]
			}
		}
		return text
	}
	switch {
	case d >= time.Hour:
		return round(time.Minute)
	case d >= time.Minute:
		return round(time.Second)
	case d >= time.Second:
		return round(10 * time.Millisecond)
	default:
		return round(10 * time.Microsecond)
	}
}
