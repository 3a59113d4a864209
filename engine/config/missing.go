package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// absent says whether nobody has written a key of a stage: no layer has it,
// and the Config holds nothing there by default either. A Validator cannot
// know; it complains about a zero that its user never wrote.
func absent(cfg any, n *node, key string) bool {
	return key != "" && !n.has(key) && holdsNothing(reflect.ValueOf(cfg), key)
}

// has says whether a file gives the value of a key below n, also as a part of
// a short form above it (`value: json` for value.format).
func (n *node) has(key string) bool {
	for key != "" {
		next, rest, _ := n.step(key)
		if next == nil {
			return n != nil && n.kind == scalar && !n.isNull()
		}
		n, key = next, rest
	}
	return true
}

// holdsNothing says whether a Config's value of a key is the zero value of its
// type. A key that the Config does not have is none of our business.
func holdsNothing(v reflect.Value, key string) bool {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return true
		}
		v = v.Elem()
	}
	if key == "" {
		return v.IsZero() || v.Kind() == reflect.Map && v.Len() == 0 || v.Kind() == reflect.Slice && v.Len() == 0
	}
	first, rest, _ := strings.Cut(key, ".")
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range Fields(v.Type()) {
			if f.Name == first {
				return holdsNothing(v.FieldByIndex(f.Index), rest)
			}
		}
	case reflect.Slice:
		if i, err := strconv.Atoi(first); err == nil && i >= 0 && i < v.Len() {
			return holdsNothing(v.Index(i), rest)
		}
	}
	return false
}

// shownZero is where a rule shows the value that breaks it.
var shownZero = regexp.MustCompile(`, got ("[^"]*"|[^;:, ]+)( of them)?`)

// missing turns what a Validator says of a zero into what its user did: write
// nothing.
func missing(p stage.Problem) string {
	rule := strings.TrimPrefix(strings.TrimPrefix(p.Text, "is required"), ": ")
	rule = shownZero.ReplaceAllString(rule, "")
	if rule == "" {
		return "is missing"
	}
	return "is missing: " + rule
}
