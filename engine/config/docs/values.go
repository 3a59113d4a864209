package docs

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// named are the types whose name says what to write.
var named = map[reflect.Type]string{
	reflect.TypeFor[stage.Rate]():     "rate",
	reflect.TypeFor[stage.Size]():     "size",
	reflect.TypeFor[stage.Percent]():  "percentage",
	reflect.TypeFor[stage.Duration](): "duration",
	reflect.TypeFor[time.Duration]():  "duration",
	reflect.TypeFor[stage.Path]():     "path",
	reflect.TypeFor[stage.Secret]():   "secret",
	reflect.TypeFor[stage.Outlet]():   "one sink, or route",
}

var textForm = reflect.TypeFor[encoding.TextUnmarshaler]()

// typeName says what a file may write for a type. resource is the tag of a
// stage.Ref.
func typeName(t reflect.Type, resource string) string {
	if t.Kind() == reflect.Pointer {
		return typeName(t.Elem(), resource)
	}
	if name, ok := named[t]; ok {
		return name
	}
	if resource != "" {
		kind, _, _ := strings.Cut(resource, ",")
		return "name of a " + kind + " resource"
	}
	text := reflect.PointerTo(t).Implements(textForm)
	switch t.Kind() {
	case reflect.Struct:
		switch {
		case text && len(config.Fields(t)) == 0:
			return strings.ToLower(t.Name())
		case text:
			return "text or map"
		}
		return "map"
	case reflect.Slice:
		return orText(text, "list of "+typeName(t.Elem(), ""))
	case reflect.Map:
		return orText(text, "map of "+typeName(t.Elem(), ""))
	case reflect.Interface:
		return "anything"
	}
	switch {
	case text:
		return strings.ToLower(t.Name())
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return "number"
	default:
		return "whole number"
	}
}

func orText(text bool, name string) string {
	if text {
		return "text or " + name
	}
	return name
}

// defaultOf writes a default as a file would; "" for what is empty, and for
// maps with keys of their own, whose defaults are shown there.
func defaultOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return ""
		}
		return defaultOf(v.Elem())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	switch v.Type() {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[stage.Duration]():
		return duration(stage.Duration(v.Int()))
	}
	if text, ok := marshal(v); ok {
		return text
	}
	switch v.Kind() {
	case reflect.Struct:
		return ""
	case reflect.Slice:
		return sequence("[", "]", v.Len(), func(i int) string { return entryOf(v.Index(i)) })
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		return sequence("{", "}", len(keys), func(i int) string {
			return fmt.Sprint(keys[i]) + ": " + entryOf(v.MapIndex(keys[i]))
		})
	default:
		return fmt.Sprint(v)
	}
}

// duration writes a time without the units of which there are none: 1m, not
// 1m0s.
func duration(d stage.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// entryOf writes an entry of a list or a map: a struct in whole, since its
// defaults are shown nowhere else.
func entryOf(v reflect.Value) string {
	v = reflect.Indirect(v)
	if text, ok := marshal(v); ok || v.Kind() != reflect.Struct {
		return cmp.Or(text, defaultOf(v))
	}
	var set []string
	for _, f := range config.Fields(v.Type()) {
		if at := v.FieldByIndex(f.Index); !at.IsZero() {
			set = append(set, f.Name+": "+entryOf(at))
		}
	}
	return "{" + strings.Join(set, ", ") + "}"
}

// marshal writes types that know how to.
func marshal(v reflect.Value) (string, bool) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	m, ok := p.Interface().(encoding.TextMarshaler)
	if !ok || v.IsZero() && v.Kind() == reflect.Struct {
		return "", false
	}
	text, err := m.MarshalText()
	return string(text), err == nil
}

func sequence(open, end string, n int, item func(int) string) string {
	if n == 0 {
		return ""
	}
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return open + strings.Join(items, ", ") + end
}
