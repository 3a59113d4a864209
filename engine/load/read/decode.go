package read

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// maxDepth and maxNodes bound what a small text can become through nesting and
// aliases.
const (
	maxDepth = 20
	maxNodes = 20_000
)

// place is where a key or a value stands.
type place struct{ line, column int }

// decoder fills a profile from YAML nodes, strictly, and remembers where each
// key stands.
type decoder struct {
	file   string
	places map[string]place
	nodes  int
	most   int // nodes; 0: maxNodes
	found  Problems
	may    Files
	named  []namedFile
}

// namedFile is where a text names a file.
type namedFile struct {
	place
	key  string
	file stage.Path
}

// allowed reports the files that the text names so far and must not.
func (d *decoder) allowed() {
	for _, n := range d.named {
		if d.may == nil {
			break
		}
		if err := d.may(string(n.file)); err != nil {
			d.fail(n.place, n.key, "%v", err)
		}
	}
	d.named = nil
}

func (d *decoder) fail(at place, key, format string, args ...any) {
	d.found = append(d.found, Problem{d.file, at.line, at.column, key, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")})
}

// take gives the problems of a compiled profile their places: that of the key,
// or of the nearest one above it.
func (d *decoder) take(found stage.Problems) {
	for _, p := range found.Found {
		at := place{}
		for key := p.Key; at == (place{}); key = key[:max(strings.LastIndexByte(key, '.'), 0)] {
			if at = d.places[key]; key == "" {
				break
			}
		}
		d.fail(at, p.Key, "%s", p.Text)
	}
}

// profile decodes a document. What is wrong has been reported.
func (d *decoder) profile(data []byte) (p load.Profile) {
	if root := d.document(data, "a profile has phases: [{constant: 5k/s}]"); root != nil {
		d.value(reflect.ValueOf(&p).Elem(), root, "", 0)
	}
	return p
}

// document is the root of the only document; nil: there is something wrong,
// which has been reported. An empty one is told what would be there.
func (d *decoder) document(data []byte, wanted string) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.unreadable(err)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		d.fail(place{1, 1}, "", "is empty; %s", wanted)
		return nil
	case err != nil:
		d.unreadable(err)
		return nil
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		d.fail(place{1, 1}, "", "holds more than one YAML document")
		return nil
	}
	return doc.Content[0]
}

func (d *decoder) unreadable(err error) {
	var le *yaml.LoadError
	if errors.As(err, &le) {
		d.fail(place{max(le.Mark.Line, 1), max(le.Mark.Column, 1)}, "", "is not readable YAML: %s", le.Message)
		return
	}
	d.fail(place{1, 1}, "", "is not readable YAML: %v", err)
}

// value decodes a node into v; key is its path.
func (d *decoder) value(v reflect.Value, n *yaml.Node, key string, depth int) {
	at := place{n.Line, n.Column}
	if _, ok := d.places[key]; !ok {
		d.places[key] = at
	}
	most := cmp.Or(d.most, maxNodes)
	if d.nodes++; d.nodes > most || depth > maxDepth {
		if d.nodes <= most+1 {
			d.fail(at, key, "is nested too deeply or repeats too much")
		}
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		d.value(v, n.Alias, key, depth+1)
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		d.raw(v, n, key)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.fail(at, key, "has no value; give one, or leave the key out")
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(v.Elem(), n, key, depth)
	case n.Kind == yaml.ScalarNode:
		d.scalar(v, n, key)
	case v.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		d.structure(v, n, key, depth)
	case v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			d.value(items.Index(i), item, join(key, strconv.Itoa(i)), depth+1)
		}
		v.Set(items)
	case v.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		d.table(v, n, key, depth)
	default:
		d.fail(at, key, "must be %s, got %s", wanted(v), kind(n))
	}
}

// raw keeps a value for somebody else to decode, as JSON.
func (d *decoder) raw(v reflect.Value, n *yaml.Node, key string) {
	var value any
	err := n.Decode(&value)
	if err == nil {
		var text []byte
		text, err = json.Marshal(value)
		v.SetBytes(text)
	}
	if err != nil {
		d.fail(place{n.Line, n.Column}, key, "cannot be read: %v", err)
	}
}

// structure decodes a map with known keys.
func (d *decoder) structure(v reflect.Value, n *yaml.Node, key string, depth int) {
	fields := map[string]reflect.Value{}
	fieldsOf(v, fields)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, at := n.Content[i].Value, place{n.Content[i].Line, n.Content[i].Column}
		below := join(key, name)
		switch field, ok := fields[name]; {
		case !ok:
			d.fail(at, below, "unknown key; known keys: %s", strings.Join(sorted(fields), ", "))
		case seen[name]:
			d.fail(at, below, "duplicate key")
		default:
			seen[name] = true
			d.value(field, n.Content[i+1], below, depth+1)
		}
	}
}

// table lays the entries of a map with any keys over those that are there.
func (d *decoder) table(v reflect.Value, n *yaml.Node, key string, depth int) {
	all := reflect.MakeMapWithSize(v.Type(), v.Len()+len(n.Content)/2)
	for each := v.MapRange(); each.Next(); {
		all.SetMapIndex(each.Key(), each.Value())
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, at := n.Content[i].Value, place{n.Content[i].Line, n.Content[i].Column}
		if seen[name] {
			d.fail(at, join(key, name), "duplicate key")
			continue
		}
		seen[name] = true
		item := reflect.New(v.Type().Elem()).Elem()
		if old := all.MapIndex(reflect.ValueOf(name)); old.IsValid() {
			item.Set(old)
		}
		d.value(item, n.Content[i+1], join(key, name), depth+1)
		all.SetMapIndex(reflect.ValueOf(name), item)
	}
	v.Set(all)
}

// fieldsOf finds the keys of a struct, those of inline ones too.
func fieldsOf(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			fieldsOf(v.Field(i), into)
		case name != "" && name != "-":
			into[name] = v.Field(i)
		}
	}
}

func sorted(fields map[string]reflect.Value) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// scalar decodes a single value.
func (d *decoder) scalar(v reflect.Value, n *yaml.Node, key string) {
	fail := func(rule string) { d.fail(place{n.Line, n.Column}, key, "must be %s, got %q", rule, short(n.Value)) }
	if path, ok := v.Addr().Interface().(*stage.Path); ok {
		switch {
		case n.Value == "":
			*path = ""
			return
		case filepath.IsAbs(n.Value):
			*path = stage.Path(filepath.Clean(n.Value)) // as it is looked at
		default:
			*path = stage.Path(filepath.Join(filepath.Dir(d.file), n.Value))
		}
		d.named = append(d.named, namedFile{place{n.Line, n.Column}, key, *path})
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := text.UnmarshalText([]byte(n.Value)); err != nil {
			d.fail(place{n.Line, n.Column}, key, "%v", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Value != "true" && n.Value != "false" {
			fail(wanted(v))
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			fail(wanted(v))
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			fail(wanted(v))
		} else if math.IsNaN(f) || math.IsInf(f, 0) {
			fail("a finite number")
		}
		v.SetFloat(f)
	default:
		fail(wanted(v))
	}
}

func wanted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		fields := map[string]reflect.Value{}
		fieldsOf(v, fields)
		if len(fields) == 0 {
			return "a single value"
		}
		return "a map with the keys " + strings.Join(sorted(fields), ", ")
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a map"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); !ok {
			return "a number"
		}
	}
	return "a single value"
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	default:
		return strconv.Quote(short(n.Value))
	}
}

func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
