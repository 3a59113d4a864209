package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/engine"
	"millrace/engine/stage"
)

// recorded has looked at a loaded route once a second, which told what had been
// due and what had come in by then.
func recorded(seconds ...[2]int64) *recorder {
	r := &recorder{routes: map[string]*recording{}, stop: make(chan struct{}), ended: make(chan struct{})}
	close(r.ended)
	for _, s := range seconds {
		r.status = func() []engine.RouteStatus {
			loaded := engine.RouteStatus{Name: "make", State: engine.Running, Stages: []engine.StageStatus{
				{Name: "generator", Kind: stage.KindSource, Values: map[string]any{"due": s[0]}}}}
			loaded.Page.In = s[1]
			return []engine.RouteStatus{loaded, {Name: "store", State: engine.Running}}
		}
		r.look(time.Second)
	}
	return r
}

func (r *recorder) into(t *testing.T) engine.Report {
	t.Helper()
	report := engine.Report{Pipeline: "p", Routes: map[string]engine.RouteReport{"make": {}, "store": {}}}
	r.finish(&report)
	return report
}

func TestTheReportHasWhatWasOfferedAndWhatCameIn(t *testing.T) {
	report := recorded([2]int64{1000, 900}, [2]int64{3000, 1900}, [2]int64{500, 2000}).into(t)
	s := report.Routes["make"].Load
	if s == nil || s.EveryS != 1 || !slices.Equal(s.Offered, []float64{1000, 2000, 500}) || !slices.Equal(s.Achieved, []float64{900, 1000, 100}) {
		t.Errorf("series %+v", s)
	}
	if report.Routes["store"].Load != nil {
		t.Error("a route without a load has a series")
	}
}

func TestALongRunIsRecordedMoreCoarsely(t *testing.T) {
	var all [][2]int64
	for i := range int64(seriesMost + 10) {
		all = append(all, [2]int64{(i + 1) * 10, (i + 1) * 8})
	}
	s := recorded(all...).into(t).Routes["make"].Load
	if s.EveryS != 2 || len(s.Offered) != seriesMost/2+5 || len(s.Achieved) != len(s.Offered) {
		t.Fatalf("%d values, each of %v s", len(s.Offered), s.EveryS)
	}
	for i := range s.Offered {
		if s.Offered[i] != 10 || s.Achieved[i] != 8 {
			t.Fatalf("value %d is %v of %v", i, s.Achieved[i], s.Offered[i])
		}
	}
}

func TestARunIsDrawn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	text, err := json.Marshal(recorded([2]int64{1000, 500}, [2]int64{2000, 1000}).into(t))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
		code int
	}{
		{[]string{"--report", file}, []string{"p, route make, offered and achieved over 2s", "2k events were offered and 1k came in, 50.0 %."}, ExitOK},
		{[]string{"--report", file, "--for", "1s"}, []string{"1k events were offered and 500 came in"}, ExitOK},
		{[]string{"--report", file, "--svg", "-"}, []string{"<svg", ">achieved<"}, ExitOK},
		{[]string{"--report", file, "--route", "store"}, []string{`route "store" has no load; these have: make`}, ExitUsage},
		{[]string{"flash", "--for", "10s"}, []string{"flash, 52s", "╵flash"}, ExitOK},
		{[]string{"2k/s"}, []string{"2k/s on average"}, ExitOK},
		{[]string{"flsh"}, []string{`there is no profile "flsh"`}, ExitUsage},
		{[]string{"flash", "--for=-1s"}, []string{"must be above 0"}, ExitUsage},
		{nil, []string{"give a profile to draw"}, ExitUsage},
		{[]string{"--report", os.DevNull}, []string{"is no report of a run"}, ExitUsage},
	} {
		var out strings.Builder
		args := append([]string{"load", "plot"}, c.args...)
		if code := Run(catalogue(), args, &out, &out); code != c.code {
			t.Errorf("%v: exit %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: %q is missing in\n%s", c.args, want, &out)
			}
		}
	}
}
