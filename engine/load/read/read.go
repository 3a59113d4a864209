// Package read makes load profiles out of what people write: a YAML file, a
// request's body, the name of a profile that comes with the engine, a rate.
//
// What is wrong is reported all at once, each with its place. A file that a
// profile names is relative to the file that names it.
package read

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"millrace/engine/load"
	"millrace/engine/stage"
	"millrace/pipelines/profiles"
)

// maxProfile bounds a profile's text: it is written by hand.
const maxProfile = 1 << 20

// Problem is one thing that is wrong with a profile.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"` // from 1; 0: the whole
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"problem"`
}

// String writes "file:line:column: key: text".
func (p Problem) String() string {
	var s strings.Builder
	if p.File != "" {
		s.WriteString(p.File + ":")
		if p.Line > 0 {
			s.WriteString(strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column) + ":")
		}
		s.WriteByte(' ')
	}
	if p.Key != "" {
		s.WriteString(p.Key + ": ")
	}
	return s.String() + p.Text
}

// Problems is all that is wrong with a profile, as an error.
type Problems []Problem

// Error writes one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Text makes a plan of a profile in YAML or JSON. name is what positions call
// it; "" for what is no file. The error is a Problems.
func Text(name string, data []byte) (*load.Plan, error) {
	d := &decoder{file: name, places: map[string]place{}}
	profile := d.profile(data)
	if len(d.found) == 0 {
		var found stage.Problems
		plan := Compile(profile, &found)
		if d.take(found); plan != nil {
			plan.Name = NameOf(profile, name)
			return plan, nil
		}
	}
	return nil, d.found
}

// NameOf is what people call a profile: its name, or the name of its file
// without folder and ending. file is where it stands itself; "" for nowhere.
func NameOf(p load.Profile, file string) string {
	if p.Name != "" {
		return p.Name
	}
	if of := cmp.Or(p.File, p.Journal); of != "" {
		file = string(of)
	}
	if file == "" {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// File makes a plan of a profile in a file. The error is a Problems.
func File(name string) (*load.Plan, error) {
	data, err := load.ReadFile(name, maxProfile)
	if err != nil {
		return nil, Problems{{File: name, Text: "cannot be read: " + err.Error()}}
	}
	return Text(name, data)
}

// Argument makes a plan of what a user gives on a command line: the name of a
// profile that comes with the engine, a rate, max, or a file. The error is a
// Problems.
func Argument(arg string) (*load.Plan, error) {
	if _, err := os.Stat(arg); err == nil || strings.ContainsRune(arg, filepath.Separator) && strings.Contains(arg, ".y") {
		return File(arg)
	}
	return Text("", []byte(strconv.Quote(arg)))
}

// Names lists the profiles that come with the engine.
func Names() []string {
	entries, err := profiles.Files.ReadDir(".")
	if err != nil {
		panic("read: the embedded profiles cannot be listed: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Source is the YAML of a profile that comes with the engine, comments
// included; false if there is none of that name.
func Source(name string) ([]byte, bool) {
	data, err := profiles.Files.ReadFile(name + ".yaml")
	return data, err == nil
}

// About is what a profile that comes with the engine is for: the first line of
// its comment.
func About(name string) string {
	data, _ := Source(name)
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return strings.TrimSpace(strings.TrimPrefix(string(line), "#"))
}

// Compile makes a plan of a profile that may be named or in a file; nil when
// something is wrong, which is added to the problems by the keys of p.
func Compile(p load.Profile, found *stage.Problems) *load.Plan {
	if p.Journal != "" {
		return replayed(p, found)
	}
	var here stage.Problems
	whole := Resolve(p, &here)
	found.Found = append(found.Found, here.Found...)
	if len(here.Found) > 0 {
		return nil
	}
	plan := whole.Compile(found)
	if plan != nil {
		plan.Name = NameOf(p, "")
	}
	return plan
}

// Resolve puts what a profile's name or file stands for in its place. Problems
// have the keys of p.
func Resolve(p load.Profile, found *stage.Problems) load.Profile {
	switch {
	case p.Journal != "":
		found.Add("journal", "has no place in a profile's file: give it in the pipeline file, as load: {journal: FILE}")
	case p.Name == "" && p.File == "":
		return p
	case p.Name != "" && p.File != "":
		found.Add("file", "has no place beside profile: a load has one of them")
	case p.Phases != nil:
		found.Add("phases", "have no place beside a profile's name or file, which has phases of its own")
	case p.Name != "":
		return named(p, found)
	default:
		return fromFile(p, found)
	}
	return load.Profile{}
}

func named(p load.Profile, found *stage.Problems) load.Profile {
	data, ok := Source(p.Name)
	if !ok {
		found.Add("profile", "there is no profile %q; there are %s, and {file: …} for one of your own", p.Name, strings.Join(Names(), ", "))
		return load.Profile{}
	}
	d := &decoder{file: p.Name + ".yaml", places: map[string]place{}}
	base := d.profile(data)
	if len(d.found) > 0 {
		panic("read: the embedded profile " + p.Name + " is wrong: " + d.found.Error())
	}
	return p.Over(base)
}

// fromFile reads a profile's file. A file names no other profile: what it says
// is all there is to it.
func fromFile(p load.Profile, found *stage.Problems) load.Profile {
	data, err := load.ReadFile(string(p.File), maxProfile)
	if err != nil {
		found.Add("file", "%s cannot be read: %v", p.File, err)
		return load.Profile{}
	}
	d := &decoder{file: string(p.File), places: map[string]place{}}
	base := d.profile(data)
	if len(d.found) == 0 && base.File != "" {
		d.fail(d.places["file"], "file", "has no place in a profile's file: it must not send on to another")
	}
	if len(d.found) == 0 {
		// Here its problems have the places in its own file.
		var below stage.Problems
		if base = Resolve(base, &below); len(below.Found) == 0 {
			base.Compile(&below)
		}
		d.take(below)
	}
	for _, f := range d.found {
		found.Add("file", "%s", f)
	}
	return p.Over(base)
}

// Sent makes a plan of a profile that was sent over the network, in YAML, JSON
// or by the name of one that comes with the engine. It may not name a profile's
// file: who sends it has it. Other files that it names are read, whatever they
// are: for who checks what will be sent. The error is a Problems.
func Sent(data []byte) (*load.Plan, error) {
	d := &decoder{places: map[string]place{}}
	if root := d.document(data, "a profile has phases: [{constant: 5k/s}]"); root != nil {
		if plan := d.sent(root, ""); plan != nil {
			return plan, nil
		}
	}
	return nil, d.found
}
