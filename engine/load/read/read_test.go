package read_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestTheProfilesThatComeWithTheEngine(t *testing.T) {
	names := read.Names()
	if want := []string{"chaos", "diurnal", "flash", "ramp", "smoke", "soak", "stairs", "steady"}; !slices.Equal(names, want) {
		t.Errorf("there are %v, want %v", names, want)
	}
	for _, name := range names {
		plan, err := read.Argument(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if about := read.About(name); len(about) < 20 || !strings.Contains(about, ":") {
			t.Errorf("%s says %q about itself", name, about)
		}
		if !(plan.Total(time.Minute) > 0) {
			t.Errorf("%s offers nothing in its first minute", name)
		}
	}
	if _, ok := read.Source("none"); ok {
		t.Error("there is a profile that is none")
	}
}

const everything = `
arrivals: {jitter: 10%}
late: {policy: drop, max_lag: 20ms}
loop: 2
seed: 42
scale: 0.5
model: {closed: {workers: 8, think: 5ms}}
phases:
  - {name: warm,   constant: 2k/s, for: 30s, measure: false}
  - {ramp: {from: 2k/s, to: 20k/s, curve: smoothstep}, for: 2m, noise: 5%}
  - {step: {from: 20k/s, by: 10k/s, every: 30s}, for: 2m}
  - {spike: {base: 20k/s, peak: 100k/s, rise: 2s, hold: 20s, fall: 10s, after: 1s, every: 1m}, for: 1m}
  - {sine: {mean: 30k/s, amplitude: 20k/s, period: 1m, start: trough}, for: 3m}
  - {on_off: {on: 50k/s, off: 0, on_for: 5s, off_for: 15s, dist: pareto}, for: 2m}
  - {sum: [{constant: 5k/s}, {spike: {peak: 40k/s, hold: 1s, every: 30s}}], for: 2m}
  - {pause: 30s}
`

func TestAProfileReadsAndWritesItselfBack(t *testing.T) {
	plan, err := read.Text("p.yaml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.Text("", plan.Profile.JSON())
	if err != nil {
		t.Fatalf("%s: %v", plan.Profile.JSON(), err)
	}
	if !reflect.DeepEqual(plan.Profile, again.Profile) || plan.Hash() != again.Hash() {
		t.Errorf("was\n%s, became\n%s", plan.Profile.JSON(), again.Profile.JSON())
	}
	if plan.Length() != 2*(30+120+120+60+180+120+120+30)*time.Second {
		t.Errorf("lasts %v", plan.Length())
	}
}

func TestProblemsHaveTheirPlaces(t *testing.T) {
	_, err := read.Text("p.yaml", []byte(`phases:
  - {constant: -5/s, for: 1m}
  - ramp: {to: 5k/s, curve: steep}
    for: 1m
  - {konstant: 5/s}
  - {constant: quick}
  - [5/s]
scale: much
late: {policy: drop, policy: drop}
loop:
`))
	var found read.Problems
	if !errors.As(err, &found) {
		t.Fatal(err)
	}
	want := []string{
		`p.yaml:5:6: phases.2.konstant: unknown key; known keys: constant, for, measure, name, noise, on_off, pause, ramp, sine, spike, step, sum, trace`,
		`p.yaml:6:16: phases.3.constant: want a rate such as 100/s, 5k/s or 2M/min, got "quick"`,
		`p.yaml:7:5: phases.4: must be a map with the keys constant, for, measure, name, noise, on_off, pause, ramp, sine, spike, step, sum, trace, got a list`,
		`p.yaml:8:8: scale: must be a number, got "much"`,
		`p.yaml:9:22: late.policy: duplicate key`,
		`p.yaml:10:6: loop: has no value; give one, or leave the key out`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("problems\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
	_, err = read.Text("p.yaml", []byte("phases:\n  - {constant: -5/s, for: 1m}\n  - ramp: {to: 5k/s, curve: steep}\n    for: 1m\n  - {sine: {mean: 5/s}, for: 1m}\n"))
	want = []string{
		"p.yaml:2:16: phases.0.constant: must be at least 0, got -5/s",
		`p.yaml:3:29: phases.1.ramp.curve: must be one of [linear quadratic ease_out smoothstep exponential], got "steep"`,
		"p.yaml:5:12: phases.2.sine.period: must be at least 1ms, got 0s",
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("problems\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "is empty",
		"# nothing":                        "is empty",
		"phases: [":                        "is not readable YAML",
		"--- {}\n--- {}\n":                 "more than one YAML document",
		"[]":                               "must be a map with the keys arrivals",
		"fast":                             `profile: there is no profile "fast"; there are chaos,`,
		"{profile: flash, file: x.yaml}":   "file: has no place beside profile",
		"{profile: flash, phases: []}":     "phases: have no place beside",
		"{file: none.yaml}":                "file: none.yaml cannot be read: no such file or directory",
		"phases: [&a {sum: [*a]}]":         "nested too deeply",
		"{profile: steady, scale: 1e9}":    "phases.0.constant: must be at most 1G/s once it is scaled",
		"{phases: [{constant: 1/s}], x: }": "x: unknown key",
	} {
		if _, err := read.Text("", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestASentProfileNamesNoFile(t *testing.T) {
	if _, err := read.Sent([]byte("{file: /etc/passwd}")); err == nil || !strings.Contains(err.Error(), "send what the file holds") {
		t.Errorf("got %v", err)
	}
	if plan, err := read.Sent([]byte("flash")); err != nil || plan.Name != "flash" {
		t.Errorf("flash: %v", err)
	}
}

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	name = filepath.Join(folder, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFilesAreRelativeToTheFileThatNamesThem(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "trace.csv", "timestamp,value\n0,10\n1,20\n")
	file := write(t, folder, "mine.yaml", "phases: [{trace: {file: trace.csv}}]")
	for _, get := range []func() (*load.Plan, error){
		func() (*load.Plan, error) { return read.File(file) },
		func() (*load.Plan, error) { return read.Argument(file) },
		func() (*load.Plan, error) {
			return read.Text(filepath.Join(folder, "p.yaml"), []byte("{file: mine.yaml, seed: 3}"))
		},
	} {
		plan, err := get()
		if err != nil {
			t.Error(err)
		} else if plan.Total(2*time.Second) != 30 {
			t.Errorf("%v events, want 30", plan.Total(2*time.Second))
		}
	}
}

func TestProblemsOfANamedFileHaveTheirPlacesThere(t *testing.T) {
	folder := t.TempDir()
	file := write(t, folder, "mine.yaml", "phases:\n  - {constant: 5/s, for: 0s}\n")
	var found stage.Problems
	read.Resolve(load.Profile{File: stage.Path(file)}, &found)
	if len(found.Found) != 1 || found.Found[0].Key != "file" || found.Found[0].Text != file+":2:26: phases.0.for: must be above 0, got 0s" {
		t.Errorf("problems %+v", found.Found)
	}
	found = stage.Problems{}
	write(t, folder, "mine.yaml", "{file: other.yaml}")
	if read.Resolve(load.Profile{File: stage.Path(file)}, &found); len(found.Found) != 1 || !strings.Contains(found.Found[0].Text, "must not send on") {
		t.Errorf("problems %+v", found.Found)
	}
}

func FuzzText(f *testing.F) {
	f.Add(everything)
	f.Add("5k/s")
	f.Add("{profile: flash, scale: 2}")
	f.Add("phases: [{sum: [{constant: 1/s}, {sine: {mean: 1/s, amplitude: 1/s, period: 1s}}]}]")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") {
			return // what files there are is not the fuzzer's to say
		}
		plan, err := read.Text("", []byte(text))
		if err != nil {
			return
		}
		if h := plan.Total(time.Minute); !(h >= 0) {
			t.Fatalf("%v events in a minute", h)
		}
		again, err := read.Text("", plan.Profile.JSON())
		if err != nil || again.Hash() != plan.Hash() {
			t.Fatalf("written as %s it is no longer the same: %v", plan.Profile.JSON(), err)
		}
	})
}
