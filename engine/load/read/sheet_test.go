package read_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// words is a content as some source might have it.
type words struct {
	Text  string                     `yaml:"text"`
	Share stage.Percent              `yaml:"share"`
	Often map[string]float64         `yaml:"often"`
	Parts map[string]words           `yaml:"parts"`
	File  stage.Path                 `yaml:"file"`
	More  []words                    `yaml:"more"`
	Maybe map[string]*stage.Duration `yaml:"maybe"`
}

func TestASheetHasAProfileOrAContentOrBoth(t *testing.T) {
	for text, want := range map[string]struct{ plan, content bool }{
		"flash":                            {true, false},
		"{content: {text: a}}":             {false, true},
		"load: flash\ncontent: {}\n":       {true, true},
		"load: {profile: flash, scale: 2}": {true, false},
		"{load: max, content: {}}":         {true, true},
		"{load: {phases: [{constant: 1/s}]}, content: {often: {x: 1}}}": {true, true},
	} {
		var c words
		sheet, err := read.SentSheet([]byte(text), &c, nil)
		if err != nil || (sheet.Plan != nil) != want.plan || sheet.Content != want.content {
			t.Errorf("%q: %+v %v", text, sheet, err)
		}
	}
}

func TestContentIsLaidOverWhatIsThere(t *testing.T) {
	before := words{Text: "a", Often: map[string]float64{"x": 1, "y": 2}, Parts: map[string]words{"p": {Text: "p", Share: 0.5}}, More: []words{{Text: "m"}}}
	got := before
	if _, err := read.Content("/dir/c.yaml", []byte("often: {y: 3, z: 4}\nparts: {p: {share: 10%}}\nmore: []\nfile: e.avsc\n"), &got, nil); err != nil {
		t.Fatal(err)
	}
	want := words{
		Text: "a", Often: map[string]float64{"x": 1, "y": 3, "z": 4}, Parts: map[string]words{"p": {Text: "p", Share: 0.1}},
		More: []words{}, File: "/dir/e.avsc",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if before.Often["y"] != 2 || before.Parts["p"].Share != 0.5 {
		t.Errorf("what was there before has changed: %+v", before)
	}
}

func TestProblemsOfASheetHaveTheirPlaces(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               {"is empty"},
		"content:":                       {"content: has no value"},
		"content: [1]":                   {"content: must be a map with the keys"},
		"content: {often: {a: 1, a: 2}}": {"content.often.a: duplicate key"},
		"content: {often: [1]}":          {"content.often: must be a map, got a list"},
		"content: {often: {a: NaN, b: -Inf, c: 1e999, d: infinity}}": {
			`content.often.a: must be a finite number, got "NaN"`, `content.often.b: must be a finite number, got "-Inf"`,
			`content.often.c: must be a number, got "1e999"`, `content.often.d: must be a finite number, got "infinity"`,
		},
		"{content: {txt: 1, share: x}, load: {file: p.yaml}}":    {"content.txt: unknown key; known keys: file, ", "content.share: ", "send what the file holds"},
		"content: {text: a}\nload: {phases: [{constant: -1/s}]}": {"load.phases.0.constant: must be at least 0"},
		"load: fast":          {"load.profile: there is no profile"},
		"load: {konstant: 1}": {"load.konstant: unknown key"},
		"{content: {}, phases: [], load: flash, load: flash}": {"phases: unknown key", "load: duplicate key"},
		"content: &a {parts: {x: *a}}":                        {"nested too deeply"},
	} {
		var c words
		_, err := read.SentSheet([]byte(text), &c, nil)
		var found read.Problems
		if !errors.As(err, &found) || len(found) != len(want) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for i := range want {
			if !strings.Contains(found[i].String(), want[i]) || found[i].Line == 0 {
				t.Errorf("%q: %+v, want %s", text, found[i], want[i])
			}
		}
	}
}

func TestProblemsFoundLaterGetThePlacesOfTheirKeys(t *testing.T) {
	var c words
	sheet, err := read.Content("c.yaml", []byte("text: a\noften:\n  x: -1\n"), &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	var found stage.Problems
	found.Warn("content.text", "is short")
	if err := sheet.Wrong(found); err != nil {
		t.Errorf("a warning is no reason to refuse: %v", err)
	}
	found.Add("content.often.x", "must be at least 0")
	found.Add("content.share", "is required")
	if err := sheet.Wrong(found); err == nil || err.Error() != "c.yaml:3:6: content.often.x: must be at least 0\nc.yaml:1:1: content.share: is required" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsSentNamesFilesBelowTheFolderOnly(t *testing.T) {
	top := t.TempDir()
	folder := filepath.Join(top, "pipelines")
	for _, dir := range []string{filepath.Join(folder, "below"), filepath.Join(top, "pipelines2")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const trace = "timestamp,value\n0,10\n1,20\n"
	secret, own := write(t, top, "secret.csv", trace), write(t, top, "own.csv", trace)
	write(t, folder, "t.csv", trace)
	write(t, folder, "below/t.csv", trace)
	write(t, top, "pipelines2/t.csv", trace)
	for link, to := range map[string]string{
		filepath.Join(folder, "out.csv"): secret, filepath.Join(folder, "up"): top, filepath.Join(folder, "in.csv"): "below/t.csv",
		filepath.Join(folder, "nowhere.csv"): filepath.Join(top, "none.csv"), filepath.Join(top, "other"): folder,
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	const rule = "must be below "
	may := read.Below(folder, own, "")
	for name, want := range map[string]string{
		folder + "/t.csv": "", folder + "/below/t.csv": "", folder + "/below/../t.csv": "", folder + "/in.csv": "", own: "",
		folder + "/../own.csv": "", top + "/other/t.csv": rule,
		secret: rule, folder + "/out.csv": rule, folder + "/up/secret.csv": rule, folder + "/../secret.csv": rule, top + "/pipelines2/t.csv": rule,
		folder + "/nowhere.csv": "no such file", folder + "/none.csv": "no such file", top + "/none.csv": rule, "t.csv": rule, "/dev/zero": rule,
		folder: "is a directory", folder + "/up/../secret.csv": "no such file", // read as it is looked at
	} {
		for text, key := range map[string]string{
			"{phases: [{trace: {file: " + name + "}, for: 1s}]}":       "phases.0.trace.file",
			"load: {phases: [{trace: {file: " + name + "}, for: 1s}]}": "load.phases.0.trace.file",
		} {
			_, err := read.SentSheet([]byte(text), &words{}, may)
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), key+": ") || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", text, err, want)
			}
		}
		_, err := read.Content("", []byte("{file: "+name+"}"), &words{}, may)
		if name == folder { // nothing has read it
			want = ""
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("content of %s: %v, want %q", name, err, want)
		}
	}
	if _, err := read.Content(folder+"/c.yaml", []byte("parts: {a: {file: ../secret.csv}}"), &words{}, may); err == nil ||
		!strings.HasPrefix(err.Error(), folder+"/c.yaml:1:19: content.parts.a.file: must be below "+folder+", where the pipeline file is, when it is sent; got "+secret) {
		t.Errorf("got %v", err)
	}
	if _, err := read.Content("", []byte("file: "+folder+"/t.csv"), &words{}, read.Below("")); err == nil || !strings.Contains(err.Error(), "which has none") {
		t.Errorf("without a folder: %v", err)
	}
}

func FuzzASheetIsReadOrRefused(f *testing.F) {
	for _, text := range []string{"flash", "{content: {text: a, often: {a: 1}}, load: {phases: [{constant: 1/s}]}}", "content: &a [*a]", "? {a: b}\n: c", "{content: {}, content: {}}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c words
		sheet, err := read.SentSheet(text, &c, nil)
		var found read.Problems
		switch {
		case err == nil && sheet.Plan == nil && !sheet.Content:
			t.Errorf("%q is nothing", text)
		case err != nil && (!errors.As(err, &found) || len(found) == 0):
			t.Errorf("%q: %v", text, err)
		}
	})
}
