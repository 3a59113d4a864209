package generator

import (
	"fmt"
	"strings"
	"testing"

	"millrace/engine/stage"
)

// wrongFields are the problems of fields that are added to the usual ones.
func wrongFields(fields map[string]Field) []stage.Problem {
	var p stage.Problems
	config(func(c *Config) { c.Content.Fields = fields }).Validate(&p)
	return p.Found
}

func TestTextsOfFieldsAreBoundedWithTheirPrefixes(t *testing.T) {
	long, many := strings.Repeat("p", 100_000), make([]string, 5000)
	weighted := map[string]float64{}
	for i := range many {
		many[i] = fmt.Sprint("option", i)
		weighted[many[i]] = 1
	}
	part := many[:100] // 10 MB with the prefix
	for name, c := range map[string]struct {
		fields map[string]Field
		key    string
	}{
		"a choice":             {map[string]Field{"f": {Prefix: long, Choice: many}}, "content.fields.f"},
		"weighted":             {map[string]Field{"f": {Prefix: long, Weighted: weighted}}, "content.fields.f"},
		"several":              {map[string]Field{"f": {Prefix: long, Choice: part}, "g": {Prefix: long, Choice: part}}, "content.fields.g"},
		"a reference":          {map[string]Field{"f": {Choice: many}, "g": {Prefix: long, Ref: "f"}}, "content.fields.g.ref"},
		"several references":   {map[string]Field{"f": {Prefix: long, Choice: part}, "g": {Ref: "f"}}, "content.fields.g.ref"},
		"a prefix for numbers": {map[string]Field{"f": {Prefix: strings.Repeat(long, 200), Range: whole(1, 2)}}, "content.fields.f"},
		"one text many times":  {map[string]Field{"f": {Choice: strings.Split(strings.Repeat(long+" ", 200), " ")}}, "content.fields.f"},
	} {
		t.Run(name, func(t *testing.T) {
			found := wrongFields(c.fields)
			if len(found) != 1 || found[0].Key != c.key ||
				!strings.HasPrefix(found[0].Text, "must leave the texts of all fields, each with its prefix, within 16MiB together, got ") {
				t.Errorf("want one problem of %s, got %d: %.300v", c.key, len(found), found)
			}
		})
	}
	if found := wrongFields(map[string]Field{"f": {Prefix: long, Choice: part}, "g": {Prefix: "a", Choice: many}}); len(found) > 0 {
		t.Errorf("%.300v", found)
	}
}

// referring is a row of fields, each of which refers to the one before.
func referring(n int, prefix string) map[string]Field {
	fields := map[string]Field{"f0": {Choice: []string{"end"}}}
	for i := range n {
		fields[fmt.Sprint("f", i+1)] = Field{Ref: fmt.Sprint("f", i), Prefix: prefix}
	}
	return fields
}

func TestReferencesGoOnForAWhileOnly(t *testing.T) {
	if found := wrongFields(referring(maxRefs, "p")); len(found) > 0 {
		t.Errorf("%.300v", found)
	}
	c := config(func(c *Config) {
		c.Rate, c.Count = Max, 1
		c.Content.Fields = referring(maxRefs, "p")
	})
	for _, e := range readAll(t, t.Context(), open(t, c)) {
		if v, _ := e.Attribute("f100"); v.Str() != strings.Repeat("p", 100)+"end" {
			t.Errorf("made %v", v)
		}
	}
	found := wrongFields(referring(maxRefs+1, "p"))
	if len(found) != 1 || found[0].Key != "content.fields.f101.ref" ||
		found[0].Text != `goes on for more than 100 fields, or round in a circle, got "f100"` {
		t.Errorf("%.300v", found)
	}
	found = wrongFields(referring(maxRefs, strings.Repeat("p", 10_000)))
	if len(found) == 0 || !strings.Contains(found[0].Text, "within 16MiB together") {
		t.Errorf("%.300v", found)
	}
}
