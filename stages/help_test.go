package stages_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"millrace/engine/config"
	"millrace/engine/config/docs"
	"millrace/stages"
)

// goName finds what may be the name of a field in Go: words that begin with a
// capital letter and have another within them.
var goName = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*[A-Z][A-Za-z0-9]*\b`)

// A reader of `engine help` knows keys, not fields.
func TestHelpNamesKeysAndNotTheFieldsOfGo(t *testing.T) {
	for _, s := range stages.All() {
		names := fieldNames(reflect.TypeOf(s.New()), map[reflect.Type]bool{})
		d := docs.Of(s)
		check := func(where, text string) {
			for _, word := range goName.FindAllString(text, -1) {
				if names[word] && strings.ToUpper(word) != word {
					t.Errorf("%s %s: %s says %s, which no pipeline file does", s.Kind, s.Name, where, word)
				}
			}
		}
		check("the description", d.Description)
		for _, f := range d.Fields {
			check(f.Key, f.Comment)
		}
	}
}

// fieldNames are the Go names of the keys of a Config, at any depth.
func fieldNames(t reflect.Type, names map[reflect.Type]bool) map[string]bool {
	found := map[string]bool{}
	if names[t] {
		return found
	}
	names[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem(), names)
	case reflect.Struct:
		for _, f := range config.Fields(t) {
			found[f.GoName] = true
			for name := range fieldNames(f.Type, names) {
				found[name] = true
			}
		}
	}
	return found
}
