package file

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/engine/stage"
)

func TestPatternsMatchAsWritten(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/var/log/*.log", "/var/log/app.log", true},
		{"/var/log/*.log", "/var/log/sub/app.log", false},
		{"/var/**/*.log", "/var/log/sub/app.log", true},
		{"/var/**/*.log", "/var/app.log", true},
		{"**/old/**", "/var/old/app.log", true},
		{"**/old/**", "/var/older/app.log", false},
		{"app.log.?", "app.log.1", true},
		{"app.log.[0-9]", "app.log.x", false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(strings.Split(c.path, "/")); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.path, got)
		}
	}
}

func TestAWalkFindsWhatThePatternsMatch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.log", "a.txt", ".hidden.log", "x/b.log", "x/y/c.log", "x/y/skip.log", "z[1].log"} {
		if err := os.MkdirAll(filepath.Join(dir, path.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string][]string{
		"/*.log":       {"/a.log", "/z[1].log"},
		"/.*.log":      {"/.hidden.log"},
		"/a.log":       {"/a.log"},
		"/x/*/c.log":   {"/x/y/c.log"},
		"/**/*.log":    {"/a.log", "/x/b.log", "/x/y/c.log", "/z[1].log"},
		"/x/**":        {"/x/b.log", "/x/y/c.log"},
		"/nowhere/*":   nil,
		"/a.log/*.log": nil,
	} {
		p, err := newPatterns([]stage.Path{stage.Path(dir + pattern), stage.Path(dir + pattern)}, []string{"skip*"})
		if err != nil {
			t.Fatal(err)
		}
		w := p.walk()
		var got []string
		for _, f := range w.files {
			got = append(got, strings.TrimPrefix(f.path, dir))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || len(w.failed) > 0 {
			t.Errorf("%s finds %q (%v), want %q", pattern, got, w.failed, want)
		}
	}
}

func TestAFolderThatCannotBeReadIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	p, err := newPatterns([]stage.Path{stage.Path(dir + "/loop/*.log")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := p.walk(); len(w.failed) != 1 {
		t.Errorf("failed are %v", w.failed)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*", "**", "a/**/b", "[", "[a-z]?/\\*", "**/**/**"} {
		f.Add(s, "a/b/c")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.Count(pattern, "**") > 4 || len(name) > 50 {
			return // as many folders as there are to choose from
		}
		p, err := parsePattern(pattern)
		if err != nil {
			return
		}
		got := p.match(strings.Split(name, "/"))
		if want, err := path.Match(pattern, name); err == nil && !strings.Contains(pattern, "**") && got != want {
			t.Fatalf("%q matches %q: %v, the standard library says %v", pattern, name, got, want)
		}
	})
}

func TestIDsRiseWithTheOffsetAndDifferWithTheContent(t *testing.T) {
	id := newIdentity()
	last := ""
	for _, offset := range []int64{0, 1, 80, 1 << 20, 1 << 40} {
		u := id.event(offset, []byte("line")).String()
		if u <= last {
			t.Errorf("%s follows %s", u, last)
		}
		last = u
	}
	if again := id.event(5, []byte("a")); again == id.event(5, []byte("b")) || again != identity(id).event(5, []byte("a")) {
		t.Error("ids do not depend on the content as they should")
	}
	if newIdentity() == id {
		t.Error("two identities are the same")
	}
}
