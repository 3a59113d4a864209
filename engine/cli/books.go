package cli

import (
	"fmt"
	"io"
	"strings"

	"millrace/engine"
)

// booksColumn is one column of the books.
type booksColumn struct {
	title  string
	of     func(*account) string
	always bool // shown also when it says 0 for every route
	rank   int  // above 0: may be left out on a narrow terminal, the highest first
}

// account is what the books say of one route.
type account struct {
	engine.RouteStatus
	engine.Books
}

var booksColumns = []booksColumn{
	{title: "in", of: func(a *account) string { return thousands(a.In) }, always: true},
	{title: "delivered", of: func(a *account) string { return thousands(a.Delivered) }, always: true},
	{title: "diverted", of: func(a *account) string { return thousands(a.Diverted) }},
	{title: "filtered", of: func(a *account) string { return thousands(a.Filtered) }},
	{title: "shed", of: func(a *account) string { return thousands(a.Shed) }},
	{title: "poisoned", of: func(a *account) string { return thousands(a.Poisoned) }},
	{title: "rejected", of: func(a *account) string { return thousands(a.Rejected) }},
	{title: "returned", of: func(a *account) string { return thousands(a.Returned) }},
	{title: "in flight", of: func(a *account) string { return thousands(a.InFlight) }, always: true},
	{title: "batches", of: func(a *account) string { return thousands(a.Batches) }, always: true, rank: 1},
	{title: "p50", of: quantile(.5), always: true, rank: 3},
	{title: "p99", of: quantile(.99), always: true, rank: 2},
	{title: "p99.9", of: quantile(.999), always: true, rank: 4},
}

func quantile(q float64) func(*account) string {
	return func(a *account) string {
		if a.Latencies.Count() == 0 {
			return "-"
		}
		return short(a.Latencies.Quantile(q))
	}
}

// printBooks prints the account of a run. Outcomes that no event had are left
// out, and on a narrow terminal what matters least.
func printBooks(out io.Writer, routes []engine.RouteStatus, r engine.Report) {
	accounts := make([]*account, len(routes))
	for i, s := range routes {
		accounts[i] = &account{s, r.Routes[s.Name].Books}
	}
	fmt.Fprintf(out, "\nbooks of %s after %.1f s (%.1f s of CPU, %.0f MB at most)\n",
		r.Pipeline, r.DurationS, r.Resources.CPUSeconds, r.Resources.MaxRSSMB)
	for _, line := range booksTable(accounts, terminalWidth(out)) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out, strings.Join(booksNotes(accounts), "\n"))
}

// booksTable lays the books out in at most width columns; 0: as many as it takes.
func booksTable(accounts []*account, width int) []string {
	var shown []booksColumn
	for _, c := range booksColumns {
		used := c.always
		for _, a := range accounts {
			used = used || c.of(a) != "0"
		}
		if used {
			shown = append(shown, c)
		}
	}
	for {
		lines := booksLines(accounts, shown)
		least, at := 0, 0
		for i, c := range shown {
			if c.rank > least {
				least, at = c.rank, i
			}
		}
		if width == 0 || widest(lines) <= width || least == 0 {
			return lines
		}
		shown = append(shown[:at:at], shown[at+1:]...)
	}
}

func booksLines(accounts []*account, columns []booksColumn) []string {
	rows := make([][]string, 1+len(accounts))
	rows[0] = []string{"route"}
	for _, c := range columns {
		rows[0] = append(rows[0], c.title)
	}
	for i, a := range accounts {
		rows[i+1] = []string{a.Name}
		for _, c := range columns {
			rows[i+1] = append(rows[i+1], c.of(a))
		}
	}
	return table(rows)
}

// booksNotes say what the numbers mean together.
func booksNotes(accounts []*account) []string {
	var notes []string
	for _, a := range accounts {
		switch err := a.Page.Check(); {
		case err != nil:
			notes = append(notes, a.Name+": "+err.Error())
		case a.Lost > 0:
			notes = append(notes, fmt.Sprintf("%s: %s events were gone at the source before they could be read", a.Name, thousands(a.Lost)))
		}
	}
	if len(notes) == 0 {
		notes = []string{"balanced: every event that came in is accounted for"}
	}
	return notes
}
