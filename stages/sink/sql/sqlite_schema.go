package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"strings"
)

// sqliteNow is the time of writing, in the form of sqliteTime.
const sqliteNow = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"

// folded writes a table's name as SQL for SQLite, which has no schemas: the
// schema becomes a part of the name, so that the same file works on both.
func folded(table string) string { return `"` + foldedName(table) + `"` }

func foldedName(table string) string { return strings.ReplaceAll(table, ".", "_") }

// ensureSQLite makes the tables that are missing, if it may, and checks them.
func ensureSQLite(ctx context.Context, db *stdsql.DB, c *Config) error {
	for _, t := range tablesOf(c) {
		for i := range t.columns {
			t.columns[i].typ = "TEXT"
		}
		if c.Create {
			if err := createSQLite(ctx, db, t); err != nil {
				return fmt.Errorf("creating table %s: %w", t.name, err)
			}
		}
		have, err := sqliteColumns(ctx, db, t.name)
		if err != nil {
			return err
		}
		if err := t.check(have, sqliteFits); err != nil {
			return err
		}
	}
	return nil
}

// createSQLite makes a table with its indexes unless it is there. The
// transaction holds the write lock from its beginning, against other processes.
func createSQLite(ctx context.Context, db *stdsql.DB, t table) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after a commit
	var there int
	err = tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = ? COLLATE NOCASE", foldedName(t.name)).Scan(&there)
	if err != nil || there > 0 {
		return err
	}
	for _, ddl := range sqliteDDL(t) {
		if _, err := tx.ExecContext(ctx, ddl); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func sqliteDDL(t table) []string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.name, c.typ, c.extra("("+sqliteNow+")"))))
	}
	ddl := []string{fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", folded(t.name), strings.Join(columns, ", "), t.key)}
	if !t.indexed {
		ddl[0] += " WITHOUT ROWID" // small rows that are found by their key only: one tree instead of two
	}
	if t.indexed {
		for _, index := range indexes {
			ddl = append(ddl, fmt.Sprintf(`CREATE INDEX "%s_%s" ON %s %s`, foldedName(t.name), index.name, folded(t.name), index.on))
		}
	}
	return ddl
}

func sqliteColumns(ctx context.Context, db *stdsql.DB, table string) ([]foundColumn, error) {
	rows, err := db.QueryContext(ctx,
		`SELECT name, type, "notnull", dflt_value IS NOT NULL OR type = 'INTEGER' AND pk > 0 FROM pragma_table_info(?)`, foldedName(table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []foundColumn
	for rows.Next() {
		var f foundColumn
		if err := rows.Scan(&f.Name, &f.Type, &f.NotNull, &f.Default); err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	return found, rows.Err()
}

// sqliteFits reports whether a column keeps text as it is: SQLite goes by these
// words in the declared type, and turns digits into numbers in other columns.
func sqliteFits(_, have string) bool {
	have = strings.ToUpper(have)
	return !strings.Contains(have, "INT") &&
		(strings.Contains(have, "TEXT") || strings.Contains(have, "CHAR") || strings.Contains(have, "CLOB"))
}
