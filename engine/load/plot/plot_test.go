package plot_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"millrace/engine/load"
	"millrace/engine/load/plot"
	"millrace/engine/load/read"
	"millrace/internal/leaks"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { leaks.Main(m) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is now\n%s", name, got)
	}
}

func planOf(t *testing.T, text string) *load.Plan {
	t.Helper()
	p, err := read.Text("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDrawsTheProfilesThatComeWithTheEngine(t *testing.T) {
	for _, name := range []string{"flash", "stairs", "smoke", "steady"} {
		c := plot.Of(planOf(t, name), 0)
		golden(t, name+".txt", plot.Text(c, 80, 24))
	}
	golden(t, "flash.svg", plot.SVG(plot.Of(planOf(t, "flash"), 0)))
}

func TestFitsTheTerminal(t *testing.T) {
	for _, name := range append(read.Names(), "max", "0.1/s", "900M/s", "{phases: [{name: "+strings.Repeat("long", 40)+", constant: 5/s, for: 1s}, {constant: 1/s}]}") {
		c := plot.Of(planOf(t, name), 10*time.Second)
		for _, size := range [][2]int{{80, 24}, {40, 10}, {132, 50}, {10, 3}} {
			text := plot.Text(c, size[0], size[1])
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) > max(size[1], 10) {
				t.Errorf("%s has %d lines in %d×%d:\n%s", name, len(lines), size[0], size[1], text)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > max(size[0], 40) {
					t.Errorf("%s has a line of %d columns in %d×%d: %s", name, n, size[0], size[1], line)
				}
			}
		}
	}
}

func TestTheSVGIsWellFormedWhateverTheNames(t *testing.T) {
	c := plot.Of(planOf(t, `{phases: [{name: "<a> & 'b'", constant: 5/s, for: 1s}]}`), 0)
	c.Title = `"<script>"`
	dec := xml.NewDecoder(strings.NewReader(plot.SVG(c)))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheCurveHasItsPeakAndTheArrivalsTheirCount(t *testing.T) {
	c := plot.Of(planOf(t, "{arrivals: poisson, phases: [{spike: {base: 10/s, peak: 1k/s, after: 30s, hold: 1s}, for: 60s}]}"), 0)
	top, sum := 0.0, 0.0
	for _, v := range c.Series[0].Values {
		top = max(top, v)
	}
	for _, v := range c.Series[1].Values {
		sum += v * 60 / float64(len(c.Series[1].Values))
	}
	if top != 1000 || math.Abs(sum-1590) > 5*math.Sqrt(1590) {
		t.Errorf("the peak is %v and there are %v events, want 1000 and about 1590", top, sum)
	}
}

func TestDrawsARunBesideItsLoad(t *testing.T) {
	c := plot.Chart{Title: "generate", Span: 10 * time.Second, Series: []plot.Series{
		{Name: "offered", Values: []float64{0, 100, 200, 300, 300, 300, 200, 100, 0, 0}},
		{Name: "achieved", Values: []float64{0, 100, 200, 200, 200, 200, 200, 200, 200, 0}, Bars: true},
	}, Marks: []plot.Mark{{At: 3 * time.Second, Name: "flash"}}}
	golden(t, "run.txt", plot.Text(c, 60, 16))
}

func TestNumbersAndSpans(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 5: "5", 0.25: "0.25", 9.999: "10", 99.97: "100", 950: "950", 999.9: "1k", 1500: "1.5k", 20e6: "20M", 2.5e9: "2.5G"} {
		if got := plot.Number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 8*time.Hour + 2*time.Minute: "8h2m",
		10 * time.Second: "10s", 90 * time.Second: "1m30s", 883333 * time.Microsecond: "883.33ms", 10 * time.Minute: "10m", 20 * time.Hour: "20h",
	} {
		if got := plot.Span(d); got != want {
			t.Errorf("%d is written %s, want %s", d, got, want)
		}
	}
}

func TestARunThatIsPlayedAgainIsDrawnWithItsChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(file, []byte("journal: {events: 5}\nchanges: [{profile: {phases: [{constant: 100/s}]}}, {at: 5s, scale: 3}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, err := read.Text("", []byte("journal: "+file))
	if err != nil {
		t.Fatal(err)
	}
	c := plot.Of(plan, 0)
	if v := c.Series[0].Values; c.Span != 10*time.Second || v[0] != 100 || v[len(v)-1] != 300 || !strings.Contains(c.Notes[0], "About 2k events in 10s") {
		t.Errorf("%+v", c)
	}
}
