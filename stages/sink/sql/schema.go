package sql

import (
	"fmt"
	"slices"
	"strings"

	"millrace/engine/stage"
)

// table is one of the tables the sink writes, as it makes them.
type table struct {
	name    string
	columns []wantedColumn
	key     string
	indexed bool
}

// wantedColumn is a column as the sink makes it.
type wantedColumn struct {
	name    string
	typ     string
	notNull bool
	now     bool // filled in by the database with the time of writing
}

// extra is what stands behind a column's type.
func (c wantedColumn) extra(now string) string {
	switch {
	case c.now:
		return "NOT NULL DEFAULT " + now
	case c.notNull:
		return "NOT NULL"
	}
	return ""
}

// foundColumn is a column as the database has it.
type foundColumn struct {
	Name    string
	Type    string
	NotNull bool
	Default bool // filled in by the database when left out
}

// tablesOf are the tables for a configuration, with the types of Postgres.
func tablesOf(c *Config) []table {
	columns := []wantedColumn{
		{name: "event_id", typ: "uuid", notNull: true},
		{name: "timestamp", typ: "timestamptz", notNull: true},
	}
	for _, t := range texts {
		columns = append(columns, wantedColumn{name: t.name, typ: "text", notNull: !t.optional})
	}
	if c.AttributesTable == "" {
		columns = append(columns, wantedColumn{name: "metadata", typ: "jsonb"})
	}
	columns = append(columns, wantedColumn{name: "processed_at", typ: "timestamptz", now: true})
	tables := []table{{name: c.Table, columns: columns, key: "event_id", indexed: true}}
	if c.AttributesTable == "" {
		return tables
	}
	attributes := table{name: c.AttributesTable, key: "event_id, key"}
	for _, name := range attributeColumns {
		typ := "text"
		if name == "event_id" {
			typ = "uuid"
		}
		attributes.columns = append(attributes.columns, wantedColumn{name: name, typ: typ, notNull: true})
	}
	return append(tables, attributes)
}

// check compares a table with what the sink writes. Its errors need a person.
func (t table) check(have []foundColumn, fits func(want, have string) bool) error {
	if len(have) == 0 {
		return stage.Fatal(fmt.Errorf("table %s does not exist; create it, or set create: true", t.name))
	}
	var problems []string
	for _, want := range t.columns {
		i := slices.IndexFunc(have, func(f foundColumn) bool { return f.Name == want.name })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("column %s is missing, want %s %s", want.name, want.name, want.typ))
		case !fits(want.typ, have[i].Type):
			problems = append(problems, fmt.Sprintf("column %s: want type %s, got %s", want.name, want.typ, have[i].Type))
		}
	}
	for _, f := range have {
		ours := slices.ContainsFunc(t.columns, func(want wantedColumn) bool { return want.name == f.Name })
		if !ours && f.NotNull && !f.Default {
			problems = append(problems, fmt.Sprintf("column %s is NOT NULL without a default, and this sink does not write it", f.Name))
		}
	}
	if problems == nil {
		return nil
	}
	return stage.Fatal(fmt.Errorf("table %s: %s; alter the table, or name another one", t.name, strings.Join(problems, "; ")))
}
