package cli

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"millrace/engine"
	"millrace/engine/books"
	"millrace/engine/event"
	"millrace/engine/stage"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func glanceAt(second int, in, delivered, batches, inFlight int64, b *books.Books) glance {
	g := glance{at: start.Add(time.Duration(second) * time.Second)}
	g.page = books.Page{In: in, Batches: batches, InFlight: inFlight}
	g.page.Outcomes[event.Delivered] = delivered
	if b != nil {
		g.latency = b.Latencies()
	}
	return g
}

// busy is a route in full work, with all that it can show.
func busy() liveRow {
	b := books.New()
	before := glanceAt(0, 1000, 900, 10, 100, b)
	b.Latency([]event.Event{{Due: start.UnixNano()}}, start.Add(4*time.Millisecond).UnixNano())
	now := glanceAt(2, 3000, 2800, 14, 150, b)
	now.page.Outcomes[event.Poisoned] = 2
	s := &engine.RouteStatus{Name: "generate", State: engine.Running, Stages: []engine.StageStatus{
		{Name: "generator", Kind: stage.KindSource, Values: map[string]any{"offered": 1000.4, "lag": int64(12345)}},
		{Name: "breaker", Kind: stage.KindMiddleware, Values: map[string]any{"state": "half_open"}},
	}}
	return describe(s, before, now)
}

func TestALiveLineShowsWhatARouteDidSinceTheLastLook(t *testing.T) {
	got := layout([]liveRow{busy()}, 1000)
	want := "generate  running  offered 1,000/s  in 1,000/s  out 950/s  batch 500  p50 4.02ms  p99 4.02ms  in flight 150  lag 12,345  breaker half_open  poisoned 2"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got\n%s\nwant\n%s", got[0], want)
	}
}

func TestARouteThatDoesNotRunSaysWhy(t *testing.T) {
	s := &engine.RouteStatus{Name: "audit", State: engine.Opening, Reason: errors.New("dial tcp 10.0.0.1:5432:\nconnection refused")}
	row := describe(s, glance{}, glance{})
	if got := layout([]liveRow{row}, 50)[0]; got != "audit  opening  dial tcp 10.0.0.1:5432: connectio…" {
		t.Errorf("got %q", got)
	}
	if got := row.attributes(); len(got) != 2 || got[1].(slog.Attr).Key != "reason" {
		t.Errorf("got %v", got)
	}
}

func TestTheFirstLookShowsNoRates(t *testing.T) {
	g := glanceAt(0, 500, 500, 1, 0, nil)
	got := layout([]liveRow{describe(&engine.RouteStatus{Name: "r", State: engine.Running}, g, g)}, 1000)[0]
	if got != "r  running  in 0/s  out 0/s  in flight 0" {
		t.Errorf("got %q", got)
	}
}

func TestALogLineHasTheSameAsNumbers(t *testing.T) {
	row := busy()
	var got []string
	for _, a := range row.attributes() {
		got = append(got, a.(slog.Attr).String())
	}
	want := "state=running offered_per_s=1000 in_per_s=1000 out_per_s=950 batch=500 p50_ms=4.015 p99_ms=4.015 in_flight=150 lag=12345 breaker=half_open poisoned=2"
	if strings.Join(got, " ") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, " "), want)
	}
}

func TestOnANarrowTerminalWhatMattersLeastIsLeftOut(t *testing.T) {
	quiet := liveRow{route: "audit", state: "running"}
	quiet.rate("in", 10, rankIn)
	quiet.rate("out", 10, rankOut)
	quiet.count("in flight", 1, rankInFlight)
	quiet.word("breaker", "closed")
	rows := []liveRow{busy(), quiet}
	for width, want := range map[int][]string{
		150: {
			"generate  running  offered 1,000/s  in 1,000/s  out 950/s  batch 500  p50 4.02ms  p99 4.02ms  in flight 150  lag 12,345  breaker half_open  poisoned 2",
			"audit     running                   in 10/s     out 10/s                                      in flight 1                breaker closed",
		},
		79: {
			"generate  running  out 950/s  lag 12,345  breaker half_open  poisoned 2",
			"audit     running  out 10/s               breaker closed",
		},
		20: {"generate  running", "audit     running"},
		10: {"generate …", "audit    …"},
	} {
		if got := layout(rows, width); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d columns: got\n%s\nwant\n%s", width, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Whatever the rows, no line is wider than the terminal, every cell that is
// shown is whole, and a narrower terminal never shows more.
func TestLiveLinesAlwaysFitAndNeverCutANumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"in", "out", "lag", "p99", "breaker"}
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) liveRow {
			r := liveRow{route: rapid.StringMatching(`[a-z]{1,12}`).Draw(t, "route"), state: "running"}
			for i, n := range names {
				if rapid.Bool().Draw(t, n) {
					r.count(n, rapid.Int64Range(0, 1e12).Draw(t, "n"), i+1)
				}
			}
			return r
		}), 1, 5).Draw(t, "rows")
		whole := 0
		for _, r := range rows {
			whole = max(whole, utf8.RuneCountInString(r.route))
		}
		width := rapid.IntRange(whole+len("  running"), 200).Draw(t, "width")
		for i, line := range layout(rows, width) {
			if n := utf8.RuneCountInString(line); n > width {
				t.Fatalf("%d columns on %d: %q", n, width, line)
			}
			shown := strings.Fields(line)[2:]
			for len(shown) > 0 {
				text := shown[0] + " " + shown[1]
				found := false
				for _, c := range rows[i].cells {
					found = found || c.text == text
				}
				if !found {
					t.Fatalf("%q is no cell of %q", text, line)
				}
				shown = shown[2:]
			}
		}
	})
}
