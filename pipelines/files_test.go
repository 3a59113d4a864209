package pipelines_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every file that comes with the engine is a right one as it is, and with every
// overlay that is for it.
func TestEveryFileIsValidAndSaysNothingElse(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("found %v: %v", files, err)
	}
	overlays, err := filepath.Glob("overlays/*.yaml")
	if err != nil || len(overlays) < 3 {
		t.Fatalf("found %v: %v", overlays, err)
	}
	check := func(p *program) {
		t.Helper()
		p.env["DATABASE_URL"] = "postgres://nobody@127.0.0.1/nothing" // not asked by validate; an outbox needs Postgres
		e := p.command("validate")
		if code := e.Exit(soon); code != 0 || strings.Count(strings.TrimSpace(e.Out()+e.Log()), "\n") != 0 {
			t.Errorf("%s %v: exit code %d, %s%s", p.file, p.args, code, e.Out(), e.Log())
		}
	}
	for _, file := range files {
		check(newProgram(t, file))
	}
	for _, overlay := range overlays {
		text, err := os.ReadFile(overlay)
		if err != nil {
			t.Fatal(err)
		}
		over := regexp.MustCompile(`^#.* over (\w+\.yaml)`).FindSubmatch(text)
		if over == nil {
			t.Errorf("%s does not begin by saying over which file it is laid", overlay)
			continue
		}
		check(newProgram(t, string(over[1])).with(filepath.Base(overlay)))
	}
}
