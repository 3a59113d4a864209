package config

import (
	"reflect"
	"strings"
)

// Field is a key that a struct of a Config has in a file.
type Field struct {
	Name     string // the key
	Type     reflect.Type
	Index    []int  // for reflect.Value.FieldByIndex
	Resource string // the tag `resource:"…"` of a stage.Ref
	Form     string // the tag `form:"…"`: what to write, where the type does not say it
	// Owner is the struct that declares the field, and GoName its name there:
	// an inline struct declares fields for the one around it.
	Owner  reflect.Type
	GoName string
}

// Fields lists the keys of a struct type: its exported fields with a yaml tag,
// and those of the structs that are inline in it.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		inline := f.Type.Kind() == reflect.Struct && (options == "inline" || f.Anonymous && name == "")
		switch {
		case name == "-" || !f.IsExported() && !inline:
		case inline:
			for _, sub := range Fields(f.Type) {
				sub.Index = append([]int{i}, sub.Index...)
				fields = append(fields, sub)
			}
		case name != "":
			fields = append(fields, Field{
				Name: name, Type: f.Type, Index: []int{i}, Resource: f.Tag.Get("resource"),
				Form: f.Tag.Get("form"), Owner: t, GoName: f.Name,
			})
		}
	}
	return fields
}

// keysOf lists the keys of a struct type.
func keysOf[T any]() []string { return namesOf(Fields(reflect.TypeFor[T]())) }

func namesOf(fields []Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}
