package stagetest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"regexp"
	"strings"

	"millrace/engine/stage"
)

// paperRules are about what a user reads: they open nothing.
var paperRules = []rule{
	{"catalogue entry", "a stage has a lower_snake_case name, a kind, and New returns a pointer to a new Config of that kind", (*rig).checkEntry},
	{"documentation", "the package and every key of the Config have a comment that tells the user what it is", (*rig).checkDocs},
	{"example", "example.yaml is a whole pipeline file that uses the stage, is valid, and begins with a comment saying what it shows", (*rig).checkExample},
	{"defaults", "New returns the same defaults each time and shares nothing between two Configs", (*rig).checkDefaults},
	{"pure checks", "Validate, Explain and Links change nothing and leave nothing behind", (*rig).checkPure},
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func (r *rig) checkEntry() {
	s := r.stage
	if !snakeCase.MatchString(s.Name) {
		r.Errorf("its name is %q", s.Name)
	}
	if s.New == nil {
		r.Fatalf("New is nil")
	}
	c := s.New()
	v := reflect.ValueOf(c)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		r.Fatalf("New returned a %T, want a pointer to a struct", c)
	}
	var fits bool
	switch s.Kind {
	case stage.KindSource:
		_, fits = c.(stage.Source)
	case stage.KindMiddleware:
		_, fits = c.(stage.Middleware)
	case stage.KindTransform:
		_, fits = c.(stage.Transform)
	case stage.KindSink:
		_, fits = c.(stage.Sink)
	case stage.KindResource:
		_, fits = c.(stage.Resource)
	default:
		r.Fatalf("its kind is %q", s.Kind)
	}
	if !fits {
		r.Errorf("%T has no Open of a %s", c, s.Kind)
	}
}

func (r *rig) checkExample() {
	data, err := r.stage.Files.ReadFile(exampleFile)
	if err != nil {
		r.Fatalf("the stage embeds no %s: %v", exampleFile, err)
	}
	if !regexp.MustCompile(`^# *[^# ]`).Match(data) {
		r.Errorf("its first line is no comment: %q", bytes.SplitN(data, []byte("\n"), 2)[0])
	}
	p := r.example()
	for _, w := range p.Warnings {
		r.Errorf("%v", w)
	}
	if r.configIn(p) == nil {
		r.Errorf("it does not use %s %q", r.stage.Kind, r.stage.Name)
	}
}

// checkDocs reads the comments as `engine help` does: from the embedded files.
func (r *rig) checkDocs() {
	files, err := fs.Glob(r.stage.Files, "*.go")
	if err != nil || len(files) == 0 {
		r.Fatalf("the stage embeds no Go files; want //go:embed *.go %s", exampleFile)
	}
	types, documented := map[string]*ast.StructType{}, false
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := r.stage.Files.ReadFile(name)
		if err != nil {
			r.Fatalf("%v", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
		if err != nil {
			r.Fatalf("%v", err)
		}
		documented = documented || strings.TrimSpace(file.Doc.Text()) != ""
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					types[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	if !documented {
		r.Errorf("no embedded file has a package comment")
	}
	d := docs{rig: r, types: types, seen: map[reflect.Type]bool{}}
	d.check(reflect.TypeOf(r.stage.New()).Elem(), "")
}

// docs walks a Config and its syntax together.
type docs struct {
	*rig
	types map[string]*ast.StructType
	seen  map[reflect.Type]bool
}

func (d docs) check(t reflect.Type, path string) {
	syntax := d.types[t.Name()]
	if syntax == nil {
		d.Errorf("type %s of key %q is not in the embedded files, so that nothing documents it", t, path)
		return
	}
	d.fields(t, syntax, path)
}

func (d docs) fields(t reflect.Type, syntax *ast.StructType, path string) {
	if d.seen[t] {
		return
	}
	d.seen[t] = true
	comments := map[string]*ast.Field{}
	for _, f := range syntax.Fields.List {
		for _, name := range f.Names {
			comments[name.Name] = f
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "-" {
			continue
		}
		at := strings.TrimPrefix(path+"."+key, ".")
		if !snakeCase.MatchString(key) {
			d.Errorf("field %s of %s has the key %q: want a yaml tag in lower_snake_case", f.Name, t, key)
		}
		field := comments[f.Name]
		if field == nil || strings.TrimSpace(field.Doc.Text()+field.Comment.Text()) == "" {
			d.Errorf("key %q (field %s of %s) has no comment", at, f.Name, t)
		}
		if field != nil {
			d.below(f.Type, field.Type, at)
		}
	}
}

// below goes on into structs that a file writes as maps of keys.
func (d docs) below(t reflect.Type, syntax ast.Expr, path string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
		switch s := syntax.(type) {
		case *ast.StarExpr:
			syntax = s.X
		case *ast.ArrayType:
			syntax = s.Elt
		case *ast.MapType:
			syntax = s.Value
		}
	}
	if t.Kind() != reflect.Struct {
		return
	}
	if inline, ok := syntax.(*ast.StructType); ok {
		d.fields(t, inline, path)
		return
	}
	if t.PkgPath() == reflect.TypeOf(d.stage.New()).Elem().PkgPath() && hasKeys(t) {
		d.check(t, path)
	}
}

// hasKeys reports whether a struct is written as a map of keys, rather than as
// one text.
func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Tag.Get("yaml") != "" {
			return true
		}
	}
	return false
}
