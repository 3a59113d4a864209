package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver of the state database

	"millrace/engine/load"
	"millrace/engine/load/journal"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func database(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "state.db"), RawQuery: "_pragma=synchronous(OFF)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func opened(t *testing.T, db *sql.DB, route string) *journal.Journal {
	t.Helper()
	j := &journal.Journal{DB: db, Route: route, Stage: "generator"}
	if err := j.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j
}

func add(t *testing.T, j *journal.Journal, e journal.Entry) {
	t.Helper()
	if err := j.Add(context.Background(), e); err != nil {
		t.Fatal(err)
	}
}

func plan(t *testing.T, rate load.Rate) *load.Plan {
	t.Helper()
	var found stage.Problems
	p := load.Constant(rate).Compile(&found)
	if p == nil {
		t.Fatal(found.Found)
	}
	return p
}

func run(t *testing.T, j *journal.Journal, number int64, rate load.Rate) {
	t.Helper()
	add(t, j, journal.Entry{At: noon, Number: 3*number - 2, Run: number, What: "started",
		Change: &load.Change{Plan: plan(t, rate)}, Begins: &load.Run{Seed: 1<<62 + 1, Instance: "a-1"}})
	double := 2.0
	add(t, j, journal.Entry{At: noon.Add(time.Second), Number: 3*number - 1, Run: number, What: "scale 2",
		Change: &load.Change{Scale: &double}, Since: 1234 * time.Millisecond})
	add(t, j, journal.Entry{At: noon.Add(2 * time.Second), Number: 3 * number, Run: number, What: "stopped", Ends: true, Events: 77})
}

func TestARunIsReadBackAsAFile(t *testing.T) {
	db := database(t)
	run(t, opened(t, db, "a"), 1, 5)
	run(t, opened(t, db, "a"), 1, 6) // of another process
	want := `# The load of route a as it was changed. To play it again, with the same content at the
# same times since the beginning: source: {generator: {load: {journal: FILE}}}
journal: {"events":77,"instance":"a-1","route":"a","run":%d,"seed":4611686018427387905,"started":"2026-01-02T12:00:00Z"}
changes:
  - {"at":"0s","hash":"%s","profile":{"phases":[{"constant":"%d/s"}]}}
  - {"at":"1.234s","scale":2}
`
	for number, text := range map[int64]string{
		0: fmt.Sprintf(want, 2, plan(t, 6).Hash(), 6), 1: fmt.Sprintf(want, 1, plan(t, 5).Hash(), 5), 2: fmt.Sprintf(want, 2, plan(t, 6).Hash(), 6),
	} {
		got, err := journal.Read(t.Context(), db, "", number)
		if err != nil || string(got) != text {
			t.Errorf("run %d: %v\n%s\nwant\n%s", number, err, got, text)
		}
	}
}

func TestWhatIsNotInTheJournalIsSaid(t *testing.T) {
	db := database(t)
	if _, err := journal.Read(t.Context(), db, "", 0); !errors.Is(err, journal.ErrNone) {
		t.Errorf("without a table: %v", err)
	}
	j := opened(t, db, "a")
	if _, err := journal.Read(t.Context(), db, "", 0); !errors.Is(err, journal.ErrNone) {
		t.Errorf("of an empty one: %v", err)
	}
	add(t, j, journal.Entry{At: noon, Number: 1, What: "rate 5/s"}) // of a load that was never started
	if _, err := journal.Read(t.Context(), db, "a", 0); !errors.Is(err, journal.ErrNone) {
		t.Errorf("without a run: %v", err)
	}
	run(t, j, 1, 5)
	for _, c := range []struct {
		route string
		run   int64
		want  string
	}{{"b", 0, `route "b"; these are in it: [a]`}, {"a", 2, "run 2 of route a; it has 1 to 1"}, {"a", -1, "it has 1 to 1"}} {
		if _, err := journal.Read(t.Context(), db, c.route, c.run); !errors.Is(err, journal.ErrNone) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %d: %v, want %s", c.route, c.run, err, c.want)
		}
	}
	run(t, opened(t, db, "b"), 1, 5)
	if _, err := journal.Read(t.Context(), db, "", 0); err == nil || !strings.Contains(err.Error(), "say which route is meant") {
		t.Errorf("of two routes: %v", err)
	}
}

func TestATableOfTheFirstVersionIsBroughtUpToDate(t *testing.T) {
	db := database(t)
	const old = `CREATE TABLE generator_load (
	id INTEGER PRIMARY KEY, route TEXT NOT NULL, stage TEXT NOT NULL, at TEXT NOT NULL, number INTEGER NOT NULL,
	what TEXT NOT NULL, hash TEXT NOT NULL, profile TEXT NOT NULL);
INSERT INTO generator_load VALUES (1, 'a', 'generator', '2025-01-01T00:00:00Z', 0, 'opened', 'x', '"max"')`
	if _, err := db.Exec(old); err != nil {
		t.Fatal(err)
	}
	run(t, opened(t, db, "a"), 1, 5)
	opened(t, db, "a") // once more changes nothing
	if got, err := journal.Read(t.Context(), db, "a", 0); err != nil || !strings.Contains(string(got), `"constant":"5/s"`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTheJournalIsBounded(t *testing.T) {
	journal.Keep(t, 300, 64<<20)
	db := database(t)
	j := opened(t, db, "a")
	run(t, opened(t, db, "b"), 1, 5)
	run(t, j, 1, 5)
	scale := 3.0
	for i := range int64(500) {
		add(t, j, journal.Entry{At: noon, Number: 20 + i, Run: 1, What: "scale 3", Change: &load.Change{Scale: &scale}})
	}
	count := func(route string) (n int) {
		if err := db.QueryRow("SELECT count(*) FROM generator_load WHERE route = ?", route).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count("a"); n < 300 || n >= 400 {
		t.Errorf("%d entries are kept", n)
	}
	if _, err := journal.Read(t.Context(), db, "a", 1); err == nil || !strings.Contains(err.Error(), "has lost its beginning") {
		t.Errorf("a run that has lost its beginning: %v", err)
	}
	journal.Keep(t, 300, 1000)
	opened(t, db, "a")
	if n := count("a"); n != 1000/len(`{"at":"0s","scale":3}`) && n != 1000/len(`{"scale":3}`) {
		t.Errorf("%d entries of some ten bytes are kept in 1000", n)
	}
	if n := count("b"); n != 3 {
		t.Errorf("of another route %d entries are kept", n)
	}
}

func TestWithoutADatabaseNothingIsKept(t *testing.T) {
	j := &journal.Journal{Route: "a"}
	if err := errors.Join(j.Open(t.Context()), j.Add(t.Context(), journal.Entry{})); err != nil {
		t.Error(err)
	}
}

func TestSourcesThatStartAtOnceMakeTheTableTogether(t *testing.T) {
	for range 20 {
		db := database(t)
		var starting sync.WaitGroup
		for i := range 4 {
			starting.Go(func() {
				j := &journal.Journal{DB: db, Route: fmt.Sprint("r", i), Stage: "generator"}
				if err := j.Open(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait()
	}
}
