package evidence

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// Table names the two tables of an audit trail.
type Table struct {
	DSN                string // postgres://…, or sqlite: and a file
	Events, Attributes string
}

// open connects to the database; the test closes it.
func (tb Table) open(t testing.TB) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", tb.DSN
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+file+"?mode=ro"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Count is the number of rows and of different event ids in the events table;
// zero when there is no table, or no database to ask.
func (tb Table) Count(t testing.TB) (rows, ids int) {
	t.Helper()
	db := tb.open(t)
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := db.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT event_id) FROM "+tb.Events).Scan(&rows, &ids); err != nil {
		return 0, 0
	}
	return rows, ids
}

// Read reads all rows with their attributes.
func (tb Table) Read(t testing.TB) []Event {
	t.Helper()
	db := tb.open(t)
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events, err := tb.readEvents(ctx, db)
	if err == nil {
		err = tb.readAttributes(ctx, db, events)
	}
	if err != nil {
		t.Fatalf("reading the table %s: %v", tb.Events, err)
	}
	for i := range events {
		events[i].normalise()
	}
	return events
}

// Ages are how old events were when their rows were written (their
// transactions begun), by the table itself; PostgreSQL only.
func (tb Table) Ages(t testing.TB) (p50, p99 time.Duration) {
	t.Helper()
	db := tb.open(t)
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	age := func(q string) string {
		return "percentile_cont(" + q + ") WITHIN GROUP (ORDER BY extract(epoch FROM processed_at - timestamp) * 1e9)::bigint"
	}
	if err := db.QueryRowContext(ctx, "SELECT "+age("0.5")+", "+age("0.99")+" FROM "+tb.Events).Scan(&p50, &p99); err != nil {
		t.Fatal(err)
	}
	return p50, p99
}

func (tb Table) readEvents(ctx context.Context, db *sql.DB) (events []Event, err error) {
	rows, err := db.QueryContext(ctx, `SELECT CAST(event_id AS text), timestamp, coalesce(level, ''), source, coalesce(host, ''), message,
		coalesce(organisation, ''), coalesce(correlation_id, ''), coalesce(trace_id, ''), coalesce(span_id, ''), coalesce(stack_trace, '')
		FROM `+tb.Events)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e := Event{Where: "a row"}
		var id string
		var at any
		x := &e.Text
		if err := rows.Scan(&id, &at, &x.Level, &x.Source, &x.Host, &x.Message, &x.Organisation, &x.CorrelationID,
			&x.TraceID, &x.SpanID, &x.StackTrace); err != nil {
			return nil, err
		}
		if e.ID, err = uuid.Parse(id); err != nil {
			return nil, err
		}
		if e.Time, err = timeOf(at); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// timeOf reads a timestamp: SQLite keeps it as text.
func timeOf(v any) (time.Time, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case string:
		return time.Parse(time.RFC3339Nano, v)
	default:
		return time.Time{}, fmt.Errorf("a timestamp of type %T", v)
	}
}

func (tb Table) readAttributes(ctx context.Context, db *sql.DB, events []Event) error {
	byID := make(map[string]*Event, len(events))
	for i := range events {
		byID[events[i].ID.String()] = &events[i]
	}
	rows, err := db.QueryContext(ctx, "SELECT CAST(event_id AS text), key, value, type FROM "+tb.Attributes)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var a Attribute
		if err := rows.Scan(&id, &a.Key, &a.Value, &a.Type); err != nil {
			return err
		}
		e := byID[id]
		if e == nil {
			return fmt.Errorf("attribute %+v belongs to event %s, which has no row", a, id)
		}
		if a.Type == "float" {
			v, err := strconv.ParseFloat(a.Value, 64)
			if err != nil {
				return fmt.Errorf("event %s: %w", id, err)
			}
			a.Value = float(v)
		}
		e.Attributes = append(e.Attributes, a)
	}
	return rows.Err()
}
