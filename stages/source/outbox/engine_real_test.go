//go:build real

package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/stage"
	"millrace/stages/resource/sql"
	sqlsink "millrace/stages/sink/sql"
)

// Through an engine, closed in the middle, into a table: each committed event
// once, by its id.
func TestEachCommittedEventIsOneRowThoughTheEngineStopsMidway(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	const n = 3000
	for i := 0; i < n; i += 100 {
		p.write(p.db, names(i, i+100)...)
		undone := p.begin()
		p.write(undone, fmt.Sprint("never ", i))
		if err := undone.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	yaml := fmt.Sprintf(`
pipeline: outbox-test
listen: 127.0.0.1:0
state: %s
resources:
  database: {kind: sql, dsn: %q}
routes:
  read:
    source: {outbox: {topic: %s, poll_interval: 20ms}}
    batch: {size: 100}
    sink: {sql: {table: rows_%s, conflict: fail}}
`, dir, p.dsn, p.topic, p.topic)
	catalogue := []stage.Stage{sql.Stage, Stage, sqlsink.Stage}
	count := func() (rows int) {
		_ = p.db.QueryRow("SELECT count(*) FROM rows_" + p.topic).Scan(&rows) // the table may not be there yet
		return rows
	}
	for _, enough := range []int{1, n / 2, n} {
		pipeline, err := config.Parse(catalogue, "outbox.yaml", []byte(yaml), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(t.Context(), pipeline, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		deadline := time.Now().Add(patient)
		for count() < enough && time.Now().Before(deadline) {
			_ = stage.SystemClock.Sleep(t.Context(), time.Millisecond)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	var never int
	if err := p.db.QueryRow(fmt.Sprintf("SELECT count(*) FROM rows_%s WHERE message LIKE 'never%%'", p.topic)).Scan(&never); err != nil {
		t.Fatal(err)
	}
	if rows := count(); rows != n || never != 0 {
		t.Errorf("%d rows of %d, %d that were rolled back", rows, n, never)
	}
}
