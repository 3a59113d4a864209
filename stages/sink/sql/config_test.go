package sql

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestValidateNamesTheKey(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		key    string // "": nothing is wrong
	}{
		{"the defaults are fine", func(*Config) {}, ""},
		{"a schema in front is fine", func(c *Config) { c.Table = "audit.log_events" }, ""},
		{"an empty table", func(c *Config) { c.Table = "" }, "table"},
		{"SQL in a name", func(c *Config) { c.Table = `x"; DROP TABLE y; --` }, "table"},
		{"two dots", func(c *Config) { c.Table = "a.b.c" }, "table"},
		{"an empty schema", func(c *Config) { c.Table = ".b" }, "table"},
		{"a digit first", func(c *Config) { c.Table = "2026_events" }, "table"},
		{"a name longer than Postgres keeps", func(c *Config) { c.Table = strings.Repeat("x", 64) }, "table"},
		{"a bad attributes table", func(c *Config) { c.AttributesTable = "no-dash" }, "attributes_table"},
		{"one table for both", func(c *Config) { c.AttributesTable = c.Table }, "attributes_table"},
		{"an unknown conflict", func(c *Config) { c.Conflict = "replace" }, "conflict"},
		{"no time to write", func(c *Config) { c.WriteTimeout = 0 }, "write_timeout"},
	} {
		c := Stage.New().(*Config)
		test.change(c)
		var p stage.Problems
		c.Validate(&p)
		switch {
		case test.key == "" && len(p.Found) != 0:
			t.Errorf("%s: %v", test.name, p.Found)
		case test.key != "" && (len(p.Found) != 1 || p.Found[0].Key != test.key):
			t.Errorf("%s: want one problem at %s, got %v", test.name, test.key, p.Found)
		}
	}
}

func TestLinksNameTheTables(t *testing.T) {
	c := &Config{Resource: "database", Table: "a", AttributesTable: "b"}
	links := c.Links()
	if len(links) != 2 || !links[0].Writes || links[0].What != "sql:database:a" || links[1].What != "sql:database:b" {
		t.Errorf("got %v", links)
	}
}

func TestEveryConflictIsExplained(t *testing.T) {
	for _, conflict := range []string{conflictIgnore, conflictUpdate, conflictFail} {
		c := Stage.New().(*Config)
		c.Conflict = conflict
		if does := c.Explain().Does; strings.HasPrefix(does, ";") {
			t.Errorf("conflict %s is not explained: %q", conflict, does)
		}
	}
}

func TestExampleIsEmbeddedAndUsesThisSink(t *testing.T) {
	text, err := fs.ReadFile(Stage.Files, "example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Routes map[string]struct{ Sink map[string]map[string]any }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if file.Routes["audit"].Sink["sql"]["table"] != "log_events" {
		t.Errorf("the example does not write to log_events: %v", file)
	}
}

// What goes into the metadata column is what the standard library reads.
func TestMetadataIsJSON(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		key, s := rapid.String().Draw(r, "key"), rapid.String().Draw(r, "value")
		got := appendJSON(nil, []event.Attribute{{Key: key, Value: event.String(s)}})
		var m map[string]string
		if err := json.Unmarshal(got, &m); err != nil || m[key] != s {
			r.Fatalf("%q: %v, %q", got, err, m)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{"", "plain", `quote " and \`, "\x00\x1f\x7f", "\u2028 \U0001F600", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := appendJSON(nil, []event.Attribute{{Key: "k", Value: event.String(s)}})
		var m map[string]string
		if err := json.Unmarshal(got, &m); err != nil {
			t.Fatalf("%q is not JSON: %v", got, err)
		}
		if utf8.ValidString(s) && m["k"] != s {
			t.Fatalf("%q came back as %q", s, m["k"])
		}
	})
}
