package load

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// JSON writes the profile in the keys of a file, without what is not set. JSON
// is YAML: it can be kept as a file, or given to an engine. The same profile is
// always the same text.
func (p Profile) JSON() []byte {
	if p.Unlimited {
		return []byte(`"max"`)
	}
	return Encode(p)
}

// Encode writes a part of a configuration as JSON, in the keys of a file,
// without what is not set. The same value is always the same text. Values that
// JSON has no word for, such as NaN, must have been refused before.
func Encode(v any) []byte {
	text, err := json.Marshal(plain(reflect.ValueOf(v)))
	if err != nil {
		panic("load: a value that cannot be written: " + err.Error())
	}
	return text
}

// MarshalJSON writes the profile as JSON does.
func (p Profile) MarshalJSON() ([]byte, error) { return p.JSON(), nil }

// plain is a value of a profile as maps, lists and texts; nil: not set.
func plain(v reflect.Value) any {
	if v.IsZero() {
		return nil
	}
	if raw, ok := v.Interface().(json.RawMessage); ok {
		return raw
	}
	if v.Kind() == reflect.Pointer {
		return set(v.Elem())
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && !keyed(v.Type()) {
		text, err := m.MarshalText()
		if err != nil {
			panic("load: " + err.Error())
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		return fieldsOf(v)
	case reflect.Map:
		entries := make(map[string]any, v.Len())
		for each := v.MapRange(); each.Next(); {
			entries[each.Key().String()] = set(each.Value())
		}
		return entries
	case reflect.Slice:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = set(v.Index(i))
		}
		return items
	default:
		return v.Interface()
	}
}

// keyed says whether a type is a map in a file, whatever short form it has.
func keyed(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() > 0 && t.Field(0).Tag.Get("yaml") != ""
}

// set is a value that is there, though it may be nothing.
func set(v reflect.Value) any {
	if p := plain(v); p != nil {
		return p
	}
	return zero(v)
}

// zero is a value that somebody has set to nothing, such as `constant: 0`.
func zero(v reflect.Value) any {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && !keyed(v.Type()) {
		text, _ := m.MarshalText()
		return string(text)
	}
	if v.Kind() == reflect.Struct {
		return map[string]any{}
	}
	return v.Interface()
}

func fieldsOf(v reflect.Value) any {
	if a, ok := v.Interface().(Arrivals); ok && a.Kind != "" {
		return a.Kind
	}
	out := map[string]any{}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case options == "inline":
			if inner, ok := fieldsOf(v.Field(i)).(map[string]any); ok {
				for key, value := range inner {
					out[key] = value
				}
			}
		default:
			if value := plain(v.Field(i)); value != nil {
				out[name] = value
			}
		}
	}
	return out
}
