package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// start measures how long it takes from the start of the process to the first
// event, and to its row in SQLite, as the row tells.
func (b *bench) start() error {
	var due, row [2][]float64 // on a new state directory; on one that is there
	for round := range b.rounds {
		state := filepath.Join(b.scratch, fmt.Sprint("start-", round))
		for again := range 2 {
			p, err := b.launch(embedded(state), b.engine, "run", filepath.Join(b.root, "pipelines/day2.yaml"),
				"--set", "routes.generate.source.generator.count=50")
			if err != nil {
				return err
			}
			if _, err := p.wait(); err != nil {
				return err
			}
			d, r, err := firstRow(filepath.Join(state, "audit.db"), p.started)
			if err != nil {
				return err
			}
			due[again], row[again] = append(due[again], d), append(row[again], r)
		}
	}
	fmt.Printf("day2 on embedded defaults, %d starts each; seconds from the start of the process\n", b.rounds)
	for again, what := range []string{"new state", "same state"} {
		fmt.Printf("%-11s first event %s, its row %s\n", what, spread(due[again], "%.3f"), spread(row[again], "%.3f"))
		b.record("start", map[string]any{"state": what, "first_event_s": due[again], "first_row_s": row[again]})
	}
	return nil
}

// firstRow tells when the first event since then was due and written.
func firstRow(file string, since time.Time) (due, written float64, err error) {
	db, err := sql.Open("sqlite", file+"?mode=ro")
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	var d, w string
	err = db.QueryRow(`SELECT timestamp, processed_at FROM log_events WHERE timestamp > ? ORDER BY timestamp LIMIT 1`,
		since.UTC().Format("2006-01-02T15:04:05.000000Z")).Scan(&d, &w)
	if err != nil {
		return 0, 0, fmt.Errorf("the first row of %s: %w", file, err)
	}
	first, err := time.Parse(time.RFC3339Nano, d)
	if err != nil {
		return 0, 0, err
	}
	wrote, err := time.Parse(time.RFC3339Nano, w)
	return first.Sub(since).Seconds(), wrote.Sub(since).Seconds(), err
}
