package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Pos is where a value stands. Line and Column count from 1; Line 0 means
// that the whole of File is meant, as with `--set a=b`.
type Pos struct {
	File         string
	Line, Column int
}

// String writes "file:line:column".
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Problem is one thing that is wrong, in one line.
type Problem struct {
	Pos
	Path    string // of the key: "routes.generate.middleware.limiter.rate"; "": the file
	Text    string // rule and value
	Warning bool   // it runs, but likely not as meant
}

// String writes "file:line:column: path: text".
func (p Problem) String() string {
	s := p.Pos.String() + ": "
	if p.Warning {
		s += "warning: "
	}
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Text
}

// Problems is the error of Load and Parse: everything that is wrong, warnings
// too, in the order of the files and their lines.
type Problems []Problem

// Error writes one problem per line.
func (p *Problems) Error() string {
	lines := make([]string, len(*p))
	for i, problem := range *p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// hidden stands for what must not be shown.
const hidden = "[redacted]"

// report collects problems while the layers are read and built.
type report struct {
	found    []Problem
	known    map[Problem]bool // the same ones, so that none is said twice
	files    map[string]int   // in the order of the layers
	secrets  map[string]bool
	settings map[string]string // each --set with a single value, whole, by its name without the value
	open     map[string]bool   // the names of those that may be shown whole
}

func newReport() *report {
	return &report{known: map[Problem]bool{}, files: map[string]int{}, secrets: map[string]bool{},
		settings: map[string]string{}, open: map[string]bool{}}
}

// layer gives a file its place in the order of problems.
func (r *report) layer(file string) {
	if _, ok := r.files[file]; !ok {
		r.files[file] = len(r.files)
	}
}

func (r *report) add(pos Pos, path, format string, args ...any) {
	r.put(Problem{Pos: pos, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (r *report) put(p Problem) {
	p.Text = oneLine(p.Text)
	if !r.known[p] {
		r.known[p] = true
		r.found = append(r.found, p)
	}
}

// mentions says whether a key or one below it has been reported.
func (r *report) mentions(path string) bool {
	return slices.ContainsFunc(r.found, func(p Problem) bool {
		return p.Path == path || strings.HasPrefix(p.Path, path+".")
	})
}

// broken says whether something is wrong with a key or one below it; a warning
// is not.
func (r *report) broken(path string) bool {
	return slices.ContainsFunc(r.found, func(p Problem) bool {
		return !p.Warning && (p.Path == path || strings.HasPrefix(p.Path, path+"."))
	})
}

// plainWord is what secrets are not, but settings that may hold one often are:
// "embedded", "none".
var plainWord = regexp.MustCompile(`^[a-z_]*$`)

// secret remembers a text that no problem may show, whoever quotes it. Very
// short ones and plain words are left alone: hiding "5" or "embedded" in every
// sentence would garble them. The value itself is never shown where it stands.
func (r *report) secret(text string) {
	if len(text) >= 4 && !plainWord.MatchString(text) {
		r.secrets[text] = true
		quoted := strconv.Quote(text)
		r.secrets[quoted[1:len(quoted)-1]] = true
	}
}

// setting remembers a --set whole. Of a map or a list any part might be a
// secret, so that stays without its value.
func (r *report) setting(file, whole string, n *node) {
	delete(r.settings, file)
	if n.kind == scalar && !strings.Contains(whole, "\n") {
		r.settings[file] = "--set " + whole
	}
}

// notSecret is told by who knows that the value that stands at a place may be
// shown: a --set there is named with it.
func (r *report) notSecret(pos Pos) {
	if pos.Line == 0 {
		r.open[pos.File] = true
	}
}

// place is the name of a file for a problem, with the value of a --set if that
// may be shown.
func (r *report) place(file string) string {
	if r.open[file] {
		return cmp.Or(r.settings[file], file)
	}
	return file
}

// finish sorts the problems, hides the secrets in them and tells the errors
// from the warnings.
func (r *report) finish() (all Problems, warnings []Problem) {
	// Longest first, so that a secret within a secret leaves no rest behind.
	secrets := make([]string, 0, len(r.secrets))
	for s := range r.secrets {
		secrets = append(secrets, s)
	}
	slices.SortFunc(secrets, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	slices.SortStableFunc(r.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(r.files[a.File], r.files[b.File]),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for _, p := range r.found {
		p.File = r.place(p.File)
		for _, s := range secrets {
			p.Text = strings.ReplaceAll(p.Text, s, hidden)
			if p.Line == 0 {
				p.File = strings.ReplaceAll(p.File, s, hidden)
			}
		}
		all = append(all, p)
		if p.Warning {
			warnings = append(warnings, p)
		}
	}
	return all, warnings
}

// oneLine keeps a problem on its line, whatever an UnmarshalText says.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r") {
		return s
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, " ")
}

// join makes the path of a key.
func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	default:
		return path + "." + key
	}
}
