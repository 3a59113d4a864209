package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// references resolves the stage.Ref fields of one Config after it is decoded,
// also those that the file does not mention.
type references struct {
	*decoder
	body      *node // the Config in the file
	resources []resourceKind
	self      string
}

var typeRef = reflect.TypeFor[stage.Ref]()

// walk looks for references in a struct and what it holds.
func (r *references) walk(v reflect.Value, key string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			r.walk(v.Elem(), key)
		}
	case reflect.Slice:
		for i := range v.Len() {
			r.walk(v.Index(i), join(key, strconv.Itoa(i)))
		}
	case reflect.Map:
		r.table(v, key)
	case reflect.Struct:
		for _, f := range Fields(v.Type()) {
			at, below := v.FieldByIndex(f.Index), join(key, f.Name)
			if f.Type == typeRef && f.Resource != "" {
				r.resolve(at, f.Resource, below)
			} else {
				r.walk(at, below)
			}
		}
	}
}

// table walks through a map, whose values have to be put back.
func (r *references) table(v reflect.Value, key string) {
	if kind := v.Type().Elem().Kind(); kind != reflect.Struct && kind != reflect.Pointer && kind != reflect.Slice || v.Type().Key().Kind() != reflect.String {
		return
	}
	for _, k := range v.MapKeys() {
		item := reflect.New(v.Type().Elem()).Elem()
		item.Set(v.MapIndex(k))
		r.walk(item, join(key, k.String()))
		v.SetMapIndex(k, item)
	}
}

// resolve finds the resource of one reference. tag is "kind", "kind,optional"
// or "kind,named": a named one is none unless the file names it, an optional
// one is none where it could be several. Whether that will do, its stage knows.
func (r *references) resolve(v reflect.Value, tag, key string) {
	if r.reported(key) {
		return
	}
	kind, option, _ := strings.Cut(tag, ",")
	all, fitting := r.names(kind)
	pos, name := r.body.find(key, r.base), v.String()
	switch {
	case name != "" && slices.Contains(fitting, name):
	case name != "" && all[name] != "":
		r.fail(pos, key, "the resource %q is of kind %s, not %s%s", name, all[name], kind, nameOne(fitting))
	case name == "" && option == "named":
	case name != "":
		r.fail(pos, key, "there is no resource %q%s", name, DidYouMean(name, "resources of kind "+kind, fitting))
	case len(fitting) == 1:
		v.SetString(fitting[0])
	case option == "optional":
	case len(fitting) > 1:
		r.fail(pos, key, "several resources are of kind %s%s", kind, nameOne(fitting))
	default:
		r.fail(pos, key, "needs a resource of kind %s; add it: resources: {%s: {…}}", kind, kind)
	}
}

func nameOne(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; name one of " + strings.Join(names, ", ")
}

// names lists the resources of the pipeline with their kinds, and the names of
// those of one kind.
func (r *references) names(kind string) (all map[string]string, fitting []string) {
	all = map[string]string{}
	for _, k := range r.resources {
		if k.name == r.self {
			continue
		}
		all[k.name] = k.kind
		if k.kind == kind {
			fitting = append(fitting, k.name)
		}
	}
	return all, fitting
}
