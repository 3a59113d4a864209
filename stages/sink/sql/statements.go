package sql

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// statement is one of the statements that write a batch to Postgres. Its
// parameters are arrays of the work.
type statement struct {
	name    string
	sql     string
	columns []int
}

func newStatement(sql string, columns ...int) statement {
	h := fnv.New64a()
	_, _ = h.Write([]byte(sql))
	return statement{name: fmt.Sprintf("millrace_%016x", h.Sum64()), sql: sql, columns: columns}
}

// quoted writes a table's name as SQL.
func quoted(table string) string { return `"` + strings.ReplaceAll(table, ".", `"."`) + `"` }

// postgresStatements are what writes a batch.
//
// With conflict ignore or fail one statement does it all, attributes included:
// only those of new rows are written, so that an ignored event is ignored
// whole. New rows have no attributes yet, which spares Postgres the look-out
// for conflicts, a fifth of the work; careful looks out all the same, for
// tables from which somebody deleted events but not their attributes.
//
// An update cannot be one statement: it takes away attributes and adds others,
// and a statement does not see its own changes.
func postgresStatements(c *Config, careful bool) []statement {
	main, mainColumns := insertEvents(c)
	attributes := []int{arrayAttributeID, arrayAttributeKey, arrayAttributeValue, arrayAttributeType}
	switch {
	case c.AttributesTable == "" && c.Conflict == conflictFail:
		return []statement{newStatement(main+" RETURNING event_id", mainColumns...)}
	case c.AttributesTable == "":
		return []statement{newStatement(main, mainColumns...)}
	case c.Conflict == conflictUpdate:
		return []statement{
			newStatement(main, mainColumns...),
			newStatement(fmt.Sprintf("DELETE FROM %s WHERE event_id = ANY($1::uuid[])", quoted(c.AttributesTable)), arrayID),
			newStatement(insertAttributes(c, 1, onConflictAttribute), attributes...),
		}
	}
	answer := "count(*)"
	if c.Conflict == conflictFail {
		answer = "event_id"
	}
	// IS TRUE keeps the planner from a join, whose kind and order it would
	// choose by a wrong guess of the arrays' lengths.
	rest := " WHERE (event_id IN (SELECT event_id FROM written)) IS TRUE"
	if careful {
		rest += onConflictAttribute
	}
	sql := fmt.Sprintf("WITH written AS (%s RETURNING event_id), attributes AS (%s) SELECT %s FROM written",
		main, insertAttributes(c, len(mainColumns)+1, rest), answer)
	return []statement{newStatement(sql, append(mainColumns, attributes...)...)}
}

const onConflictAttribute = " ON CONFLICT (event_id, key) DO NOTHING"

// insertEvents is the statement for the main table and the arrays it takes.
func insertEvents(c *Config) (sql string, columns []int) {
	names := eventColumns(c.AttributesTable == "")
	types := map[string]string{"event_id": "uuid", "timestamp": "timestamptz", "metadata": "jsonb"}
	arrays := make([]string, len(names))
	for i, name := range names {
		columns = append(columns, arrayID+i) // the arrays are in the order of the columns
		arrays[i] = parameter(i+1, types[name])
	}
	onConflict := "DO NOTHING"
	if c.Conflict == conflictUpdate {
		onConflict = "DO UPDATE SET " + assignments(names) + ", processed_at = now()"
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s) ON CONFLICT (event_id) %s",
		quoted(c.Table), strings.Join(names, ", "), strings.Join(arrays, ", "), onConflict), columns
}

// insertAttributes is the statement for the attributes table, its parameters
// numbered from first.
func insertAttributes(c *Config, first int, rest string) string {
	return fmt.Sprintf("INSERT INTO %s (event_id, key, value, type) SELECT event_id, key, value, type "+
		"FROM unnest(%s, %s, %s, %s) AS attribute (event_id, key, value, type)%s",
		quoted(c.AttributesTable), parameter(first, "uuid"), parameter(first+1, ""), parameter(first+2, ""), parameter(first+3, ""), rest)
}

func parameter(n int, typ string) string {
	if typ == "" {
		typ = "text"
	}
	return fmt.Sprintf("$%d::%s[]", n, typ)
}

// assignments is what an update sets, all columns but the key.
func assignments(names []string) string {
	var set []string
	for _, name := range names[1:] {
		set = append(set, name+" = excluded."+name)
	}
	return strings.Join(set, ", ")
}
