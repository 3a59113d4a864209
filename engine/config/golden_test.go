package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/engine/config"
)

var update = flag.Bool("update", false, "write what the golden files should say")

// wantMark begins the comment at the end of a golden file: the problems, or
// the pipeline, that it must give.
const wantMark = "# want:\n"

// golden runs a file against its comment. Lines "# --set a=b" and
// "# --with file" at its top are the layers above it.
func golden(t *testing.T, file string, run func(opts config.Options) string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, want, _ := bytes.Cut(data, []byte(wantMark))
	opts := config.Options{Env: env}
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(line, "# --set "); ok {
			opts.Set = append(opts.Set, strings.TrimSuffix(s, "\n"))
		}
		if s, ok := strings.CutPrefix(line, "# --with "); ok {
			opts.Overlays = append(opts.Overlays, strings.TrimSpace(s))
		}
	}
	var got strings.Builder
	for line := range strings.Lines(run(opts)) {
		got.WriteString("# " + line)
	}
	if *update {
		text = append(text[:len(text):len(text)], wantMark+got.String()...)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func eachFile(t *testing.T, folder string, run func(t *testing.T, file string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) { run(t, file) })
	}
}

// Every file in testdata/bad ends with all that is wrong with it, in the words
// that its author reads.
func TestABadFileIsToldAllThatIsWrongWithItAndWhere(t *testing.T) {
	eachFile(t, "bad", func(t *testing.T, file string) {
		golden(t, file, func(opts config.Options) string {
			_, err := config.Load(catalogue, file, opts)
			var problems *config.Problems
			if !errors.As(err, &problems) {
				return fmt.Sprintf("no problems, but %v\n", err)
			}
			return strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
		})
	})
}

// Every file in testdata/good ends with what is made of it.
func TestAGoodFileBecomesThePipelineItDescribes(t *testing.T) {
	eachFile(t, "good", func(t *testing.T, file string) {
		golden(t, file, func(opts config.Options) string {
			p, err := config.Load(catalogue, file, opts)
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(dump(p), "testdata/good/", "")
		})
	})
}

// dump writes a pipeline, one thing per line.
func dump(p *config.Pipeline) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("%s listen=%s state=%s token=%s drain=%s", p.Name, p.Listen, p.State, p.Token, p.DrainTimeout)
	for _, d := range p.Replaced {
		line("%s %s: %s=%q", d.Pos, d.Path, d.Variable, d.Value)
	}
	for _, w := range p.Warnings {
		line("%s", w)
	}
	for _, r := range p.Resources {
		line("%s %s(%s) %s", r.Pos, r.Path, r.Stage.Name, show(r.Config))
	}
	for _, r := range p.Routes {
		line("%s %s %+v", r.Pos, r.Name, r.Batch)
		if r.Spool != nil {
			line("  spool %+v", *r.Spool)
		}
		if r.Source != nil {
			line("  %s", step(*r.Source))
		}
		for _, m := range r.Middleware {
			line("  %s", step(m))
		}
		dumpSink(line, "  ", r.Sink)
	}
	return out.String()
}

func dumpSink(line func(string, ...any), indent string, s config.Sink) {
	branch := func(b config.Branch, when string) {
		line("%s%s %s%s", indent, b.Pos, b.Name, when)
		for _, m := range b.Middleware {
			line("%s  %s", indent, step(m))
		}
		dumpSink(line, indent+"  ", b.Sink)
	}
	if s.Stage != nil {
		line("%s%s", indent, step(*s.Stage))
	}
	if s.Route != "" {
		line("%s%s -> %s", indent, s.Pos, s.Route)
	}
	for _, b := range s.Broadcast {
		branch(b, "")
	}
	for _, c := range s.Switch {
		branch(c.Branch, " when "+c.When.String())
	}
}

func step(s config.Step) string {
	return fmt.Sprintf("%s %s %s(%s) %s", s.Pos, s.Path, s.Name, s.Stage.Name, show(s.Config))
}

func show(cfg any) string {
	if g, ok := cfg.(*generator); ok {
		shown, seed := *g, "-"
		if shown.Seed != nil {
			seed = fmt.Sprint(*shown.Seed)
		}
		shown.Content, shown.Seed = nil, nil
		text := fmt.Sprintf("%+v seed=%s", shown, seed)
		if g.Content != nil {
			text += fmt.Sprintf(" content=%+v", *g.Content)
		}
		return strings.ReplaceAll(text, "\n", "|")
	}
	return fmt.Sprintf("%+v", cfg)
}
