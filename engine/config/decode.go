package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// decoder fills one Config from its node, strictly: what the file has goes
// over the defaults that are there, a key that the Config does not have is a
// problem.
type decoder struct {
	report *report
	env    func(string) (string, bool)
	prefix string          // path of the node that is decoded
	base   Pos             // place of its key
	bad    map[string]bool // keys that have been reported
	meant  map[string]bool // keys that a mistyped one was taken for
	used   *[]Default
	// outlets are the sinks that the Config has for itself.
	outlets []outlet
}

// outlet is a sink in a Config: a field of type stage.Outlet.
type outlet struct {
	key  string
	sink *node
}

var (
	typeNode     = reflect.TypeFor[*node]()
	typeOutlet   = reflect.TypeFor[stage.Outlet]()
	typeSecret   = reflect.TypeFor[stage.Secret]()
	typePath     = reflect.TypeFor[stage.Path]()
	typeTextForm = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (d *decoder) fail(pos Pos, key, format string, args ...any) {
	d.bad[key] = true
	d.report.add(pos, join(d.prefix, key), format, args...)
}

// value decodes n into v; key is the path of n below the prefix.
func (d *decoder) value(v reflect.Value, n *node, key string) {
	if v.Type() == typeNode {
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.Type() == typeOutlet {
		v.SetString(key)
		d.outlets = append(d.outlets, outlet{key, n})
		return
	}
	if n.isNull() {
		d.null(v, n, key)
		return
	}
	if n.kind == scalar && isText(v.Type()) {
		d.scalar(v, n, key)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		into := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			into.Elem().Set(v.Elem())
		}
		d.value(into.Elem(), n, key)
		v.Set(into)
	case reflect.Struct:
		d.structure(v, n, key)
	case reflect.Map:
		d.table(v, n, key)
	case reflect.Slice:
		d.slice(v, n, key)
	case reflect.Interface:
		d.anything(v, n, key)
	default:
		d.scalar(v, n, key)
	}
}

// isText says whether a type is read from a scalar by its own UnmarshalText.
func isText(t reflect.Type) bool {
	return t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(typeTextForm)
}

// null is `key:` with nothing behind it. Maps, lists and parts that may be
// left out stay what they are, since their contents may be commented out; for
// a single value it is a slip.
func (d *decoder) null(v reflect.Value, n *node, key string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Interface:
		if v.Kind() != reflect.Struct || !isText(v.Type()) || len(Fields(v.Type())) > 0 {
			return
		}
	}
	d.fail(n.pos, key, "has no value; give one, or leave the key out")
}

func (d *decoder) structure(v reflect.Value, n *node, key string) {
	fields := Fields(v.Type())
	names := namesOf(fields)
	if n.kind != dict {
		d.fail(n.pos, key, "must be a map%s, got %s", withKeys(names), n.describe())
		return
	}
next:
	for _, e := range n.entries {
		for _, f := range fields {
			if f.Name == e.key {
				d.value(v.FieldByIndex(f.Index), e.value, join(key, e.key))
				continue next
			}
		}
		if near := nearest(e.key, names); near != "" {
			d.meant[join(key, near)] = true
		}
		d.fail(e.pos, join(key, e.key), "unknown key%s", DidYouMean(e.key, "known keys", names))
	}
}

func withKeys(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " with the keys " + strings.Join(names, ", ")
}

// table lays the entries of the file over those that are there.
func (d *decoder) table(v reflect.Value, n *node, key string) {
	if n.kind != dict {
		d.fail(n.pos, key, "must be a map, got %s", n.describe())
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), v.Len()+len(n.entries))
	for _, k := range v.MapKeys() {
		out.SetMapIndex(k, v.MapIndex(k))
	}
	for _, e := range n.entries {
		k := reflect.New(v.Type().Key()).Elem()
		switch {
		case isText(k.Type()):
			if err := k.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(e.key)); err != nil {
				d.fail(e.pos, join(key, e.key), "%v", err)
				continue
			}
		case k.Kind() == reflect.String:
			k.SetString(e.key)
		default:
			d.unsupported(v, n, key)
			return
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if old := out.MapIndex(k); old.IsValid() {
			item.Set(old)
		}
		d.value(item, e.value, join(key, e.key))
		out.SetMapIndex(k, item)
	}
	v.Set(out)
}

// slice replaces the list that is there.
func (d *decoder) slice(v reflect.Value, n *node, key string) {
	if n.kind != list {
		d.fail(n.pos, key, "must be a list, got %s", n.describe())
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.value(out.Index(i), item, join(key, strconv.Itoa(i)))
	}
	v.Set(out)
}

// anything decodes where the Config leaves the type to the file: bool, int64,
// float64, string, []any and map[string]any.
func (d *decoder) anything(v reflect.Value, n *node, key string) {
	if v.NumMethod() > 0 {
		d.unsupported(v, n, key)
		return
	}
	var into reflect.Value
	switch n.kind {
	case list:
		into = reflect.New(reflect.TypeFor[[]any]()).Elem()
	case dict:
		into = reflect.New(reflect.TypeFor[map[string]any]()).Elem()
	default:
		if text, ok := d.text(n, key, false); ok {
			v.Set(reflect.ValueOf(natural(text, n)))
		}
		return
	}
	d.value(into, n, key)
	v.Set(into)
}

func (d *decoder) unsupported(v reflect.Value, n *node, key string) {
	d.fail(n.pos, key, "cannot be set in a file: its type is %s, a bug of the stage", v.Type())
}

// text is a scalar with its variables. It may be shown unless secret says
// that the target is a stage.Secret.
func (d *decoder) text(n *node, key string, secret bool) (text string, ok bool) {
	x := expansion{report: d.report, env: d.env, pos: n.pos, path: join(d.prefix, key)}
	text = x.expand(n.text)
	if x.problem != "" {
		d.fail(n.pos, key, "%s", x.problem)
		return "", false
	}
	for _, used := range x.defaults {
		if secret {
			used.Value = hidden
		}
		*d.used = append(*d.used, used)
	}
	if secret {
		d.report.secret(text)
	}
	return text, true
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
