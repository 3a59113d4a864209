package generator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/avro"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// maxSchema bounds a schema file.
const maxSchema = 1 << 20

// onSchema adds a field for each field of the Avro schema that is none of the
// event's own. What the schema has no room for is kept out of the metadata.
func (c Content) onSchema(p *stage.Problems) Content {
	if c.Avro == "" {
		return c
	}
	root, err := readSchema(string(c.Avro))
	if err != nil {
		p.Add("content.avro", "%v", err)
		return c
	}
	fields, open := map[string]Field{}, false
	for i := range root.Fields {
		f := &root.Fields[i]
		if plain := plainName(f.Name); slices.Contains(ownNames, plain) {
			continue
		} else if open = open || slices.Contains(mapNames, plain); slices.Contains(mapNames, plain) {
			continue
		}
		made, ok := fieldOf(f.Name, &f.Type)
		if !ok {
			p.Warn("content.avro", "field %s is %s, which the metadata of an event has no place for; it is left to its default", f.Name, f.Type.Type)
			continue
		}
		fields[f.Name] = made
	}
	all := maps.Clone(fields)
	for name, f := range c.Fields {
		if _, room := fields[name]; !room && !open {
			f.MessageOnly = true
		} else if room && f.MessageOnly {
			continue // the template's, for its messages
		}
		all[name] = f
	}
	c.Fields = all
	return c
}

func readSchema(file string) (*avro.SchemaNode, error) {
	text, err := load.ReadFile(file, maxSchema)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, err)
	}
	schema, err := avro.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("is no Avro schema: %s: %w", file, err)
	}
	root := schema.Root().ExpandReferences()
	if root.Type != "record" {
		return root, fmt.Errorf("must be a record to describe an event, %s is %s", file, root.Type)
	}
	return root, nil
}

func plainName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// ownNames are the names that mean something of the event's own, in any usual
// spelling.
var ownNames = []string{
	"id", "eventid", "time", "timestamp", "level", "severity", "source", "host", "hostname", "message", "correlationid", "traceid",
	"spanid", "organisation", "organization", "organisationid", "organizationid", "stacktrace",
}

// mapNames are those of a map that takes all metadata.
var mapNames = []string{"metadata", "attributes"}

// Numbers for the types of Avro: small enough to look like something counted,
// and times in 2025.
const (
	year2025  = 1_735_689_600
	year      = 31_536_000
	day       = 86_400
	wholeMost = 10_000
)

// units are the parts of a second in logical types.
var units = map[string]int64{"millis": 1e3, "micros": 1e6, "nanos": 1e9}

// fieldOf makes values of an Avro type; false: metadata cannot hold them.
func fieldOf(name string, t *avro.SchemaNode) (Field, bool) {
	switch t.Type {
	case "union":
		for i := range t.Branches {
			if f, ok := fieldOf(name, &t.Branches[i]); ok {
				return f, true
			}
		}
		return Field{}, false
	case "string":
		return textFor(name, t.LogicalType), true
	case "enum":
		return Field{Choice: t.Symbols}, true
	case "boolean":
		return Field{Kind: "bool"}, true
	case "float", "double":
		return Field{Range: Range{min: 0, max: 100_000, decimals: 2, given: true}}, true
	case "int", "long":
		return numberFor(t.LogicalType), true
	}
	return Field{}, false
}

func numberFor(logical string) Field {
	if logical == "date" {
		return Field{Range: whole(year2025/day, (year2025+year)/day)}
	}
	kind, unit, _ := strings.Cut(strings.TrimPrefix(logical, "local-"), "-")
	switch scale := cmp.Or(units[unit], 1); kind {
	case "timestamp":
		return Field{Range: whole(year2025*scale, (year2025+year)*scale)}
	case "time":
		return Field{Range: whole(0, day*scale-1)}
	}
	return Field{Range: whole(0, wholeMost)}
}

// textFor makes texts that suit the name of a field.
func textFor(name, logical string) Field {
	plain := plainName(name)
	switch {
	case logical == "uuid", strings.HasSuffix(plain, "uuid"):
		return Field{Kind: "uuid"}
	case strings.Contains(plain, "email"):
		return Field{Regex: `[a-z]{3,8}\.[a-z]{3,10}@example\.(com|org)`}
	case strings.HasSuffix(plain, "url"), strings.HasSuffix(plain, "uri"):
		return Field{Regex: `https://example\.com/[a-z]{3,9}/[a-z0-9]{4,12}`}
	case strings.HasPrefix(plain, "ip"), strings.HasSuffix(plain, "ip"), strings.HasSuffix(plain, "ipaddress"):
		return Field{Kind: "ip"}
	case strings.HasSuffix(plain, "id"), strings.HasSuffix(plain, "key"):
		return Field{Hex: 16}
	}
	return Field{Choice: words[:]}
}
