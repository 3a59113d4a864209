// Package docs reads what a stage says about itself: its Config's fields and
// defaults by reflection, and the sentences from the comments of the Go files
// that the stage embeds. Help texts, the table of stages and the schema of
// pipeline files all come from here, so they cannot say anything else than the
// code; a plugin documents itself the same way, and so do the keys of the
// pipeline file that belong to no stage.
package docs

import (
	"cmp"
	"embed"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// Doc is what is known about one stage.
type Doc struct {
	// Summary is the first sentence of the package comment without its
	// "Package x" or "Package x is": "Keeps a route below a rate of events."
	Summary string
	// Description is the whole package comment.
	Description string
	// Fields are the keys of the Config, those of nested maps behind theirs.
	Fields []Field
	// Example is the example.yaml, a whole pipeline file.
	Example string
}

// Field is one key of a stage's Config.
type Field struct {
	// Key is the path below the stage: "content.template". A list's entries
	// are "messages[]", those of a map by name "fields.<name>".
	Key string
	// Type is what a file may write there: "rate", "list of text".
	Type string
	// Default is what New gives, as a file would write it; "": nothing, or an
	// entry of a list or map, which New knows nothing of.
	Default string
	// Comment is the field's comment on the Config.
	Comment string
	// Required says that a file must give it.
	Required bool
}

// Of documents a stage. What the stage does not say is left empty.
func Of(s stage.Stage) Doc {
	src := read(s.Files)
	d := Doc{Description: forUsers(src.description), Summary: summary(src.description)}
	if example, err := fs.ReadFile(s.Files, "example.yaml"); err == nil {
		d.Example = string(example)
	}
	d.Fields = fields(s, src)
	return d
}

// OfSection lists the keys of a part of the pipeline file itself.
func OfSection(s config.Section) []Field {
	cfg := reflect.ValueOf(s.Config)
	return list(cfg, read(s.Files))
}

// fields lists the keys of a stage's Config; none for a stage whose New is not
// what it must be, which loading a pipeline with it reports.
func fields(s stage.Stage, src source) []Field {
	if s.New == nil {
		return nil
	}
	cfg := reflect.Indirect(reflect.ValueOf(s.New()))
	if cfg.Kind() != reflect.Struct {
		return nil
	}
	return list(cfg, src)
}

// list lists the keys of a Config, whose package says so.
func list(cfg reflect.Value, src source) []Field {
	w := walker{sources: map[string]source{cfg.Type().PkgPath(): src}}
	w.structure(cfg, "")
	return w.fields
}

// commented is a type of a package that is not the stage's, and yet a part of
// its Config. It hands out the Go files with the comments on its fields and on
// those of the types below it.
type commented interface{ Comments() embed.FS }

// goFile finds what is for readers of the code.
var goFile = regexp.MustCompile(`\b[a-z_]+\.go\b`)

// forUsers leaves out the paragraphs that tell which file does what.
func forUsers(description string) string {
	var kept []string
	for _, paragraph := range strings.Split(description, "\n\n") {
		if !goFile.MatchString(paragraph) {
			kept = append(kept, paragraph)
		}
	}
	return strings.Join(kept, "\n\n")
}

// summary is the first sentence without "Package x" and "is".
func summary(description string) string {
	text := new(doc.Package).Synopsis(description)
	named, ok := strings.CutPrefix(text, "Package ")
	_, rest, more := strings.Cut(named, " ")
	if !ok || !more {
		return text
	}
	rest = strings.TrimPrefix(rest, "is ")
	first, size := utf8.DecodeRuneInString(rest)
	return string(unicode.ToUpper(first)) + rest[size:]
}

// source is what the comments of a package say.
type source struct {
	description string
	// fields holds the comments by type and Go name of the field.
	fields map[string]map[string]string
}

// read parses the Go files of a stage. Files that cannot be parsed say
// nothing; the compiler has seen them, so there are none.
func read(files fs.FS) source {
	src := source{fields: map[string]map[string]string{}}
	names, _ := fs.Glob(files, "*.go")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Base(name), text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		if file.Doc != nil {
			src.description = file.Doc.Text()
		}
		src.types(file)
	}
	return src
}

// types remembers the comments of all struct types of a file.
func (s *source) types(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		t, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		structure, ok := t.Type.(*ast.StructType)
		if !ok {
			return false
		}
		comments := map[string]string{}
		for _, f := range structure.Fields.List {
			text := f.Doc.Text()
			if text == "" {
				text = f.Comment.Text()
			}
			for _, name := range f.Names {
				comments[name.Name] = strings.TrimSpace(text)
			}
		}
		s.fields[t.Name.Name] = comments
		return false
	})
}

// walker lists the fields of a Config.
type walker struct {
	sources map[string]source // by import path
	inside  []reflect.Type    // against types that hold themselves
	entry   bool              // inside a list or a map
	fields  []Field
}

// structure lists the fields of a struct.
func (w *walker) structure(v reflect.Value, key string) {
	if slices.Contains(w.inside, v.Type()) {
		return
	}
	w.learn(v.Type())
	w.inside = append(w.inside, v.Type())
	defer func() { w.inside = w.inside[:len(w.inside)-1] }()
	keys := config.Fields(v.Type())
	for _, f := range keys {
		at := v.FieldByIndex(f.Index)
		below := f.Name
		if key != "" {
			below = key + "." + f.Name
		}
		field := Field{Key: below, Type: cmp.Or(f.Form, typeName(f.Type, f.Resource))}
		if !w.entry {
			field.Default = defaultOf(at)
		}
		field.Comment = byKeys(sentence(w.comment(f), f.GoName, field.Default), keys)
		if rest, ok := strings.CutSuffix(field.Comment, "Required."); ok && !w.entry {
			field.Default, field.Required, field.Comment = "", true, strings.TrimSpace(rest)
		}
		w.fields = append(w.fields, field)
		w.below(at, f.Type, below)
	}
}

// below lists what is nested in a field.
func (w *walker) below(v reflect.Value, t reflect.Type, key string) {
	outer := w.entry
	defer func() { w.entry = outer }()
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v = reflect.New(t.Elem())
		}
		w.below(v.Elem(), t.Elem(), key)
	case reflect.Struct:
		w.structure(v, key)
	case reflect.Slice:
		w.entry = true
		w.below(reflect.Zero(t.Elem()), t.Elem(), key+"[]")
	case reflect.Map:
		w.entry = true
		w.below(reflect.Zero(t.Elem()), t.Elem(), key+".<name>")
	}
}

// saidDefault finds a sentence that says no more than a default; values finds a
// text that begins with what a file may say: "linear (default), quadratic".
var (
	saidDefault = regexp.MustCompile(`\bDefault (\S+)\.(?:\s|$)`)
	values      = regexp.MustCompile(`^([a-z0-9_-]+(, | or | \(default)|[a-z]+_[a-z]+ \()`)
)

// sameValue says whether two texts are the same, or the same time: 60s and 1m.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	var first, second stage.Duration
	return first.UnmarshalText([]byte(a)) == nil && second.UnmarshalText([]byte(b)) == nil && first == second
}

// sentence makes a field's comment one for the reader of a pipeline file, who
// knows the key by another name than Go's and sees the default beside it.
func sentence(comment, goName, preset string) string {
	if m := saidDefault.FindStringSubmatchIndex(comment); preset != "" && m != nil && sameValue(comment[m[2]:m[3]], preset) {
		comment = strings.TrimSpace(comment[:m[0]] + strings.TrimPrefix(comment[m[1]:], " "))
	}
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(comment, goName+verb); ok {
			if values.MatchString(rest) {
				return rest // they are written as they are
			}
			first, size := utf8.DecodeRuneInString(rest)
			return string(unicode.ToUpper(first)) + rest[size:]
		}
	}
	return comment
}

// byKeys calls the fields of a struct by their keys where a comment calls them
// by names that are no words: MaxOpen, ClientID.
func byKeys(comment string, fields []config.Field) string {
	for _, f := range fields {
		if !inWords(f.GoName) {
			comment = regexp.MustCompile(`\b`+f.GoName+`\b`).ReplaceAllLiteralString(comment, f.Name)
		}
	}
	return comment
}

// inWords says whether a Go name is a word or an abbreviation: Rate, TLS.
func inWords(goName string) bool {
	return strings.ToUpper(goName) == goName || !strings.ContainsFunc(goName[1:], unicode.IsUpper)
}

// learn reads the comments that a type of another package hands out.
func (w *walker) learn(t reflect.Type) {
	if _, known := w.sources[t.PkgPath()]; known {
		return
	}
	if c, ok := reflect.Zero(t).Interface().(commented); ok {
		w.sources[t.PkgPath()] = read(c.Comments())
	}
}

// comment finds a field's comment; none where its package hands out no files.
func (w *walker) comment(f config.Field) string {
	return w.sources[f.Owner.PkgPath()].fields[f.Owner.Name()][f.GoName]
}
