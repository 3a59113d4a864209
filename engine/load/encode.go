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
	text, err := json.Marshal(plain(reflect.ValueOf(p)))
	if err != nil {
		panic("load: a profile that cannot be written: " + err.Error()) // only NaN could; Compile refuses it
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
	if v.Kind() == reflect.Pointer {
		if set := plain(v.Elem()); set != nil {
			return set
		}
		return zero(v.Elem())
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic("load: " + err.Error())
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		return fieldsOf(v)
	case reflect.Slice:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = plain(v.Index(i))
		}
		return items
	default:
		return v.Interface()
	}
}

// zero is a value that somebody has set to nothing, such as `constant: 0`.
func zero(v reflect.Value) any {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
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
