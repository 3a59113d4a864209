package sql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// suite is what both databases must do alike.
func suite(t *testing.T, at func(testing.TB) *place) {
	tests := []struct {
		name string
		run  func(*testing.T, *place)
	}{
		{"tables are made with their indexes, and found at the next open", testCreates},
		{"every column holds what the event says", testColumns},
		{"events written again make no second row", testIdempotent},
		{"attributes get rows of their own, once", testAttributes},
		{"an ignored event is ignored with its attributes", testIgnoredWhole},
		{"attributes that outlived their event do no harm", testOrphans},
		{"conflict update replaces the row and its attributes", testUpdate},
		{"conflict fail refuses what is there and writes the rest", testFail},
		{"the same id twice in one batch is fine", testTwiceInBatch},
		{"an event goes when the other with its id is bad", testBadTwin},
		{"a row that breaks a rule is bad and nothing is written", testBadRow},
		{"text that cannot be stored is refused by column, the rest goes on", testUnstorable},
		{"a time beyond the calendar is refused, the rest goes on", testFarTime},
		{"settled and refused events are not written", testOnlyOpen},
		{"many writers at once make each row once", testConcurrent},
		{"engines that start together make the table once", testConcurrentOpen},
		{"a missing table needs a person when create is false", testMissingTable},
		{"a table of another form is named with column, want and got", testWrongForm},
		{"a stop is a stop and writes nothing", testStopped},
		{"a batch that takes too long is weather", testTimeout},
		{"the counters tell rows from duplicates", testCounters},
		{"any event comes back as it was", testRoundTrip},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, at(t)) })
	}
}

func testCreates(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	write(t, p.open(t, c), some(3)...)
	p.open(t, c)
	if got := p.rows(t, c.Table); got != 3 {
		t.Errorf("after a second open the table has %d rows, want 3", got)
	}
	if p.rows(t, c.AttributesTable) != 12 {
		t.Errorf("want 12 attributes, got %d", p.rows(t, c.AttributesTable))
	}
	query := "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = '" + foldedName(c.Table) + "'"
	if strings.HasPrefix(p.dsn, "postgres") {
		query = fmt.Sprintf("SELECT count(*) FROM pg_index WHERE indrelid = '%s'::regclass", p.sql(c.Table))
	}
	if got := p.number(t, query); got != len(indexes)+1 {
		t.Errorf("the table has %d indexes with its key, want %d", got, len(indexes)+1)
	}
}

func testIdempotent(t *testing.T, p *place) {
	c := p.config(nil)
	w, events := p.open(t, c), some(700)
	write(t, w, events[:500]...)
	write(t, w, events...)
	write(t, w, events...)
	if got := p.rows(t, c.Table); got != 700 {
		t.Errorf("700 events written three times made %d rows", got)
	}
}

func testAttributes(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	w, events := p.open(t, c), some(100)
	write(t, w, events...)
	write(t, w, events...)
	if got := p.rows(t, c.AttributesTable); got != 400 {
		t.Errorf("100 events with 4 attributes written twice made %d attribute rows, want 400", got)
	}
	got := p.number(t, "SELECT count(*) FROM "+p.sql(c.AttributesTable)+
		" a JOIN "+p.sql(c.Table)+" e ON a.event_id = e.event_id WHERE a.key = 'thread_id' AND a.value = '42' AND a.type = 'int'")
	if got != 1 {
		t.Errorf("want one event with thread_id 42 of type int, got %d", got)
	}
}

func testIgnoredWhole(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	w, events := p.open(t, c), some(2)
	write(t, w, events[0])
	events[0].SetAttribute("new", event.Bool(true))
	write(t, w, events...)
	if got := p.number(t, "SELECT count(*) FROM "+p.sql(c.AttributesTable)+" WHERE key = 'new'"); got != 0 {
		t.Error("the row of an event was kept, but an attribute of its second version was added")
	}
	if got := p.rows(t, c.AttributesTable); got != 8 {
		t.Errorf("want the 8 attributes of both events, got %d", got)
	}
}

func testOrphans(t *testing.T, p *place) {
	for _, conflict := range []string{conflictIgnore, conflictFail, conflictUpdate} {
		c := p.config(func(c *Config) {
			c.Conflict = conflict
			c.Table, c.AttributesTable = p.table("orphans_"+conflict), p.table("orphans_attributes_"+conflict)
		})
		w, events := p.open(t, c), some(20)
		write(t, w, events...)
		p.exec(t, "DELETE FROM "+p.sql(c.Table))
		if b := write(t, w, events...); b.Count(event.Refused) != 0 {
			t.Errorf("conflict %s: refused: %v", conflict, b.FirstErr(event.Refused))
		}
		if p.rows(t, c.Table) != 20 || p.rows(t, c.AttributesTable) != 80 {
			t.Errorf("conflict %s: want 20 rows and 80 attributes, got %d and %d", conflict, p.rows(t, c.Table), p.rows(t, c.AttributesTable))
		}
	}
}

func testUpdate(t *testing.T, p *place) {
	for _, table := range []string{"", p.table("attributes")} {
		c := p.config(func(c *Config) {
			c.Conflict, c.AttributesTable = conflictUpdate, table
			c.Table = p.table("updated" + fmt.Sprint(len(table)))
		})
		w, events := p.open(t, c), some(100)
		write(t, w, events...)
		events[7].Message, events[7].Attributes = "changed", []event.Attribute{{Key: "only", Value: event.String("one")}}
		write(t, w, events...)
		if p.rows(t, c.Table) != 100 || p.number(t, "SELECT count(*) FROM "+p.sql(c.Table)+" WHERE message = 'changed'") != 1 {
			t.Error("want 100 rows, one with the new message")
		}
		if table != "" && p.rows(t, table) != 99*4+1 {
			t.Errorf("want the old attributes of the changed event gone, got %d rows", p.rows(t, table))
		}
	}
}

func testFail(t *testing.T, p *place) {
	for _, table := range []string{"", p.table("attributes")} {
		c := p.config(func(c *Config) {
			c.Conflict, c.AttributesTable = conflictFail, table
			c.Table = p.table("strict" + fmt.Sprint(len(table)))
		})
		w, events := p.open(t, c), some(10)
		write(t, w, events[3:5]...)
		b := write(t, w, events...)
		for row := range b.All() {
			refused := b.Outcome(row) == event.Refused
			if want := row == 3 || row == 4; refused != want {
				t.Errorf("event %d refused: %v, want %v (%v)", row, refused, want, b.Err(row))
			}
		}
		if err := b.Err(3); err == nil || !strings.Contains(err.Error(), events[3].ID.String()) {
			t.Errorf("want the reason to name the id, got %v", err)
		}
		if p.rows(t, c.Table) != 10 || table != "" && p.rows(t, table) != 40 {
			t.Error("want all 10 events in the tables, once")
		}
	}
}

func testTwiceInBatch(t *testing.T, p *place) {
	for _, test := range []struct{ conflict, kept string }{{conflictIgnore, "first"}, {conflictUpdate, "second"}, {conflictFail, "first"}} {
		c := p.config(func(c *Config) {
			c.Conflict = test.conflict
			c.Table, c.AttributesTable = p.table("twice_"+test.conflict), p.table("twice_attributes_"+test.conflict)
		})
		w, events := p.open(t, c), some(3)
		events[2].ID = events[0].ID
		events[0].Message, events[2].Message = "first", "second"
		events[2].Attributes = []event.Attribute{{Key: "second", Value: event.Int(2)}}
		b := write(t, w, events...)
		if got := p.number(t, "SELECT count(*) FROM "+p.sql(c.Table)+" WHERE message = '"+test.kept+"'"); got != 1 || p.rows(t, c.Table) != 2 {
			t.Errorf("conflict %s: want 2 rows, the %s version kept", test.conflict, test.kept)
		}
		want := map[string]int{"first": 8, "second": 5}[test.kept]
		if got := p.rows(t, c.AttributesTable); got != want {
			t.Errorf("conflict %s: want %d attributes, got %d", test.conflict, want, got)
		}
		if refused := b.Count(event.Refused); refused != map[string]int{conflictFail: 1}[test.conflict] {
			t.Errorf("conflict %s: %d events refused", test.conflict, refused)
		}
	}
}

func testBadTwin(t *testing.T, p *place) {
	for _, conflict := range []string{conflictIgnore, conflictFail} {
		c := p.config(func(c *Config) { c.Conflict, c.Table = conflict, p.table("bad_twin_"+conflict) })
		w, events := p.open(t, c), some(4)
		events[0].Message = "nul \x00 inside"
		events[1].ID = events[0].ID
		b := write(t, w, events...)
		if b.Count(event.Refused) != 1 || b.Outcome(0) != event.Refused || p.rows(t, c.Table) != 3 {
			t.Errorf("conflict %s: want the bad one refused and 3 rows, got %d rows and %v", conflict, p.rows(t, c.Table), b.Err(1))
		}
	}
	c := p.config(func(c *Config) { c.Conflict, c.Table = conflictFail, p.table("twin_of_forbidden") })
	p.forbid(t, c)
	w, events := p.open(t, c), some(3)
	events[0].Message, events[1].ID = "forbidden", events[0].ID
	b := event.NewBatch(events)
	wantClass(t, w.Write(t.Context(), b), stage.BadEvent)
	if n := b.Count(event.Refused); n != 0 {
		t.Errorf("nothing was written, and %d events were refused: %v", n, b.FirstErr(event.Refused))
	}
	head, tail := b.Split(1)
	wantClass(t, w.Write(t.Context(), head), stage.BadEvent)
	if err := w.Write(t.Context(), tail); err != nil || tail.Count(event.Refused) != 0 || p.rows(t, c.Table) != 2 {
		t.Errorf("the good ones: %v, %d refused, %d rows", err, tail.Count(event.Refused), p.rows(t, c.Table))
	}
}

// forbid makes a table that does not take the message "forbidden".
func (p *place) forbid(t *testing.T, c *Config) {
	t.Helper()
	if strings.HasPrefix(p.dsn, "postgres") {
		p.open(t, c)
		p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" ADD CHECK (message <> 'forbidden')")
	} else {
		columns := "timestamp TEXT, level TEXT, source TEXT, host TEXT, message TEXT CHECK (message <> 'forbidden'), organisation TEXT, " +
			"correlation_id TEXT, trace_id TEXT, span_id TEXT, stack_trace TEXT, processed_at TEXT DEFAULT CURRENT_TIMESTAMP"
		if c.AttributesTable == "" {
			columns += ", metadata TEXT"
		}
		p.exec(t, "CREATE TABLE "+p.sql(c.Table)+" (event_id VARCHAR(36) PRIMARY KEY, "+columns+")")
	}
}

func testBadRow(t *testing.T, p *place) {
	c := p.config(p.withAttributes)
	p.forbid(t, c)
	w, events := p.open(t, c), some(100)
	events[90].Message = "forbidden"
	b := event.NewBatch(events)
	err := w.Write(t.Context(), b)
	wantClass(t, err, stage.BadEvent)
	if p.rows(t, c.Table) != 0 || p.rows(t, c.AttributesTable) != 0 {
		t.Errorf("a bad row left %d rows and %d attributes behind", p.rows(t, c.Table), p.rows(t, c.AttributesTable))
	}
	head, tail := b.Split(90)
	if err := w.Write(t.Context(), head); err != nil {
		t.Errorf("the half without the bad row: %v", err)
	}
	wantClass(t, w.Write(t.Context(), tail), stage.BadEvent)
	if got := p.rows(t, c.Table); got != 90 {
		t.Errorf("want 90 rows after the good half, got %d", got)
	}
}

func testUnstorable(t *testing.T, p *place) {
	for i, table := range []string{"", p.table("attributes")} {
		c := p.config(func(c *Config) { c.Table, c.AttributesTable = p.table(fmt.Sprint("unstorable", i)), table })
		w, events := p.open(t, c), some(60)
		events[3].Message = "nul \x00 inside"
		events[5].Source = "broken \xff\xfe"
		events[7].SetAttribute("user", event.String("nul \x00"))
		events[9].SetAttribute("broken \xc3", event.Int(1))
		b := write(t, w, events...)
		for row, column := range map[int]string{3: "message", 5: "source", 7: "metadata", 9: "metadata"} {
			if err := b.Err(row); b.Outcome(row) != event.Refused || !strings.Contains(err.Error(), column) {
				t.Errorf("event %d: %v, %v; want it refused and column %s named", row, b.Outcome(row), err, column)
			}
		}
		if b.Count(event.Open) != 56 || p.rows(t, c.Table) != 56 {
			t.Errorf("want the other 56 events written, got %d rows", p.rows(t, c.Table))
		}
	}
}

func testFarTime(t *testing.T, p *place) {
	c := p.config(nil)
	w, events := p.open(t, c), some(4)
	events[1].Time = time.Unix(1<<62, 0)
	events[2].Time = time.Unix(-1<<62, 0)
	b := write(t, w, events...)
	if b.Outcome(1) != event.Refused || b.Outcome(2) != event.Refused || p.rows(t, c.Table) != 2 {
		t.Errorf("want two events refused and two rows, got %v, %v and %d rows", b.Outcome(1), b.Outcome(2), p.rows(t, c.Table))
	}
	if !strings.Contains(b.Err(1).Error(), "timestamp") {
		t.Errorf("want the column named, got %v", b.Err(1))
	}
}

func testOnlyOpen(t *testing.T, p *place) {
	c := p.config(nil)
	w, b := p.open(t, c), event.NewBatch(some(10))
	b.Settle(2, event.Filtered)
	b.Refuse(5, errNone)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := p.rows(t, c.Table); got != 8 {
		t.Errorf("want the 8 open events written, got %d", got)
	}
	if err := w.Write(t.Context(), event.NewBatch(nil)); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

func testMissingTable(t *testing.T, p *place) {
	c := p.config(func(c *Config) { c.Create = false })
	err := p.openErr(t, c)
	wantClass(t, err, stage.Unfixable)
	if !strings.Contains(err.Error(), c.Table) {
		t.Errorf("want the table named, got %v", err)
	}
}

func testWrongForm(t *testing.T, p *place) {
	c := p.config(nil)
	p.open(t, c)
	p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" DROP COLUMN host")
	p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" DROP COLUMN span_id")
	p.exec(t, "ALTER TABLE "+p.sql(c.Table)+" ADD COLUMN span_id integer")
	err := p.openErr(t, c)
	wantClass(t, err, stage.Unfixable)
	for _, want := range []string{c.Table, "column host is missing", "column span_id: want type", "integer"} {
		if !strings.Contains(strings.ReplaceAll(err.Error(), "INTEGER", "integer"), want) {
			t.Errorf("want %q in the error, got: %v", want, err)
		}
	}
}

func testCounters(t *testing.T, p *place) {
	w, events := p.open(t, p.config(nil)), some(30)
	write(t, w, events[:20]...)
	write(t, w, append(events[10:30:30], events[29])...)
	status := w.(stage.Statuser).Status()
	if status["rows_inserted"] != int64(30) || status["rows_duplicate"] != int64(11) {
		t.Errorf("want 30 rows and 11 duplicates, got %v", status)
	}
	if err := w.(stage.Prober).Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
}
