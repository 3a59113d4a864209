package file

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"millrace/engine/stage"
)

// pattern is a path whose parts may hold *, ? and [], and be ** for any number
// of folders.
type pattern []string

func parsePattern(s string) (pattern, error) {
	p := pattern(strings.Split(s, "/"))
	for _, part := range p {
		if _, err := path.Match(part, ""); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// match compares a path, cut at its slashes.
func (p pattern) match(parts []string) bool {
	for len(p) > 0 && p[0] != "**" {
		if len(parts) == 0 {
			return false
		}
		if ok, _ := path.Match(p[0], parts[0]); !ok {
			return false
		}
		p, parts = p[1:], parts[1:]
	}
	if len(p) == 0 {
		return len(parts) == 0
	}
	for i := range len(parts) + 1 {
		if p[1:].match(parts[i:]) {
			return true
		}
	}
	return false
}

// patterns say which files are followed.
type patterns struct {
	include []pattern
	exclude []pattern
}

func newPatterns(include []stage.Path, exclude []string) (*patterns, error) {
	p := &patterns{}
	for _, s := range include {
		whole, err := filepath.Abs(string(s))
		if err != nil {
			return nil, err
		}
		parsed, err := parsePattern(whole)
		if err != nil {
			return nil, err
		}
		p.include = append(p.include, parsed)
	}
	for _, s := range exclude {
		parsed, err := parsePattern(s)
		if err != nil {
			return nil, err
		}
		p.exclude = append(p.exclude, parsed)
	}
	return p, nil
}

// excluded reports whether a file is to be left out.
func (p *patterns) excluded(name string) bool {
	parts := strings.Split(name, "/")
	return slices.ContainsFunc(p.exclude, func(x pattern) bool {
		if len(x) == 1 {
			return x.match(parts[len(parts)-1:])
		}
		return x.match(parts)
	})
}

// found is what a walk brings.
type found struct {
	path string
	info fs.FileInfo
}

// walk is one look at what files there are.
type walk struct {
	patterns *patterns
	files    []found
	seen     map[string]bool
	folders  map[string]bool  // that were looked into
	failed   map[string]error // what could not be looked at
}

// walk finds the files that are there now.
func (p *patterns) walk() *walk {
	w := &walk{patterns: p, seen: make(map[string]bool), folders: make(map[string]bool), failed: make(map[string]error)}
	for _, include := range p.include {
		w.into("/", include[1:]) // its first part is what is before the first slash
	}
	return w
}

// into looks in a folder for what is left of a pattern.
func (w *walk) into(folder string, rest pattern) {
	part := rest[0]
	switch {
	case part == "**":
		if len(rest) == 1 {
			rest = pattern{"**", "*"}
		}
		w.into(folder, rest[1:])
		for _, e := range w.list(folder) {
			if e.IsDir() {
				w.into(folder+e.Name()+"/", rest)
			}
		}
	case !strings.ContainsAny(part, `*?[\`):
		if len(rest) > 1 {
			w.into(folder+part+"/", rest[1:])
			return
		}
		w.folders[folder] = true
		w.file(folder + part)
	default:
		for _, e := range w.list(folder) {
			if ok, _ := path.Match(part, e.Name()); !ok || hides(part, e.Name()) {
				continue
			}
			if len(rest) == 1 {
				w.file(folder + e.Name())
			} else if e.IsDir() || e.Type()&fs.ModeSymlink != 0 {
				w.into(folder+e.Name()+"/", rest[1:])
			}
		}
	}
}

// hides reports whether a name begins with a dot that the pattern does not ask for.
func hides(part, name string) bool { return name[0] == '.' && part[0] != '.' }

func (w *walk) list(folder string) []fs.DirEntry {
	w.folders[folder] = true
	entries, err := os.ReadDir(folder)
	w.note(folder, err)
	return entries
}

// file notes one file that a pattern names. Folders and pipes are no files to
// follow.
func (w *walk) file(name string) {
	if w.seen[name] || w.patterns.excluded(name) {
		return
	}
	w.seen[name] = true
	info, err := os.Stat(name)
	if err != nil {
		w.note(name, err)
		return
	}
	if info.Mode().IsRegular() {
		w.files = append(w.files, found{name, info})
	}
}

// note remembers why something could not be looked at. What is not there is no
// error: it may come.
func (w *walk) note(name string, err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotFolder) {
		w.failed[name] = err
	}
}
