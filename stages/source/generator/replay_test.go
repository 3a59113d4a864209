package generator

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver of the state database
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/load"
	"millrace/engine/load/journal"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

// kept opens a state database, within the bubble of the test.
func kept(t *testing.T, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: "_pragma=synchronous(OFF)&_pragma=journal_mode(MEMORY)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// told is what a run offered: when each event was due since its beginning, and
// a hash of all that it said.
type told struct {
	due  []time.Duration
	hash string
}

func (a told) differs(b told) string {
	for i := range min(len(a.due), len(b.due)) {
		if a.due[i] != b.due[i] {
			return fmt.Sprintf("event %d is due at %v and at %v", i, a.due[i], b.due[i])
		}
	}
	switch {
	case len(a.due) != len(b.due):
		return fmt.Sprintf("%d and %d events", len(a.due), len(b.due))
	case a.hash != b.hash:
		return "the events say something else"
	}
	return ""
}

// clockTime is the only thing in a line that a run does not repeat.
var clockTime = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z`)

func tell(events []event.Event, began time.Time) (t told) {
	h := sha256.New()
	for _, e := range events {
		t.due = append(t.due, time.Duration(e.Due-began.UnixNano()))
		fmt.Fprintf(h, "%d %d %v %q %q %q %q %q %q %q %v %v\n", e.Offset, e.Due-began.UnixNano(), e.Level, e.Source, e.Host, clockTime.ReplaceAllString(e.Message, "(time)"),
			e.CorrelationID, e.TraceID, e.SpanID, e.Organisation, e.Time.Sub(began), e.Attributes)
	}
	t.hash = hex.EncodeToString(h.Sum(nil))
	return t
}

// TestARunIsPlayedAgainFromItsJournal changes a load at random, as fast as one
// can, reads the run back from the journal, and plays it again in another
// process with another name: each event is due at the same time since the
// beginning and says the same.
func TestARunIsPlayedAgainFromItsJournal(t *testing.T) {
	profiles := []string{
		"500/s", "flash", "{arrivals: poisson, seed: 7, phases: [{constant: 2k/s}]}", "{phases: [{name: a, ramp: {from: 0, to: 3k/s}, for: 300ms}]}",
		"{arrivals: {gamma: {cv: 3}}, loop: true, phases: [{name: a, constant: 1k/s, for: 50ms}, {name: b, sine: {mean: 1k/s, amplitude: 500/s, period: 20ms}, for: 70ms, noise: 20%}]}",
	}
	contents := []string{hello, bye, `{"duplicate_ratio":"20%","late_ratio":"10%"}`, `{"format":"json"}`, `{"phases":{"a":{"malformed_ratio":"50%"}}}`}
	patches := []string{
		`{"scale":2}`, `{"scale":0.3333333333333333}`, `{"rate":"777/s"}`, `{"hold":true}`, `{"hold":false}`, `{"pause":true}`, `{"pause":false}`, `{"next":true}`,
		`{"rate":"3k/s","ttl":"17ms"}`, `{"pause":true,"ttl":"9ms"}`, `{"next":true,"ttl":"13ms"}`, `{"hold":true,"ttl":"40ms"}`, `{"scale":3,"content":{"malformed_ratio":"10%"},"ttl":"60ms"}`,
	}
	fewer(t, "30")
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		type change struct {
			after              time.Duration
			method, path, body string
		}
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) change {
			c := change{after: time.Duration(rapid.Int64Range(0, 40_000_000).Draw(rt, "after"))}
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				c.method, c.path, c.body = "PUT", load.Path("r"), rapid.SampledFrom(profiles).Draw(rt, "profile")
			case 1:
				c.method, c.path, c.body = "PUT", load.ContentPath("r"), rapid.SampledFrom(contents).Draw(rt, "content")
			default:
				c.method, c.path, c.body = "PATCH", load.Path("r"), rapid.SampledFrom(patches).Draw(rt, "patch")
			}
			return c
		}), 1, 25).Draw(rt, "changes")
		anew := rapid.Bool().Draw(rt, "after a stop")
		threads := rapid.IntRange(1, 2).Draw(rt, "threads")
		runs++
		file := filepath.Join(dir, fmt.Sprint("run-", runs, ".yaml"))
		synctest.Test(t, func(t *testing.T) {
			db := kept(t, filepath.Join(dir, fmt.Sprint("state-", runs, ".db")))
			defer db.Close()
			mux := http.NewServeMux()
			s := settings(mux)
			s.State = db
			opened, err := config(func(c *Config) { c.Rate, c.Seed, c.Threads, c.API = 1500, 42, threads, base }).Open(context.Background(), s)
			if err != nil {
				t.Fatal(err)
			}
			r := opened.(*reader)
			if anew {
				readEvents(t, r, 30*time.Millisecond)
				request(mux, "POST", "/stop")
				pass(5 * time.Millisecond)
				request(mux, "POST", "/start")
			}
			began := time.Unix(0, r.pacer.origin).Add(r.pacer.player.Began())
			var all []event.Event
			for _, c := range steps {
				all = append(all, readEvents(t, r, c.after)...)
				mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
			}
			all = append(all, readEvents(t, r, 100*time.Millisecond)...)
			if err := r.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			text, err := journal.Read(context.Background(), db, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			want, got := tell(all, began), again(t, file)
			if what := want.differs(got); what != "" {
				t.Fatalf("%s\n%s", what, text)
			}
		})
	})
}

// again plays a run again, in a process of another name, until its end.
func again(t *testing.T, file string) told {
	t.Helper()
	pass(12345678 * time.Nanosecond)
	mux := http.NewServeMux()
	s := settings(mux)
	s.Instance = "another"
	c := config(func(c *Config) { c.Load.Journal = stage.Path(file) })
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("%+v", p.Found)
	}
	opened, err := c.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := opened.(*reader)
	began := time.Unix(0, r.pacer.origin).Add(r.pacer.player.Began())
	events := readEvents(t, r, time.Hour)
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return tell(events, began)
}

func TestARunThatBeganHeldAndPausedIsPlayedAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "run.yaml")
	synctest.Test(t, func(t *testing.T) {
		db := kept(t, filepath.Join(dir, "state.db"))
		defer db.Close()
		mux := http.NewServeMux()
		s := settings(mux)
		s.State = db
		opened, err := config(func(c *Config) { c.Rate, c.API, c.Start = 1000, base, false }).Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		r := opened.(*reader)
		ask(t, mux, "PATCH", "", `{"rate":"100/s","pause":true}`)
		request(mux, "POST", "/start")
		began := time.Unix(0, r.pacer.origin).Add(r.pacer.player.Began())
		all := readEvents(t, r, time.Second)
		ask(t, mux, "PATCH", "", `{"pause":false,"ttl":"2s"}`)
		all = append(all, readEvents(t, r, time.Second)...)
		ask(t, mux, "PATCH", "", `{"scale":3}`)
		all = append(all, readEvents(t, r, 5*time.Second)...)
		if err := r.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		text, err := journal.Read(context.Background(), db, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		want, got := tell(all, began), again(t, file)
		if what := want.differs(got); what != "" || len(want.due) != 100+300 {
			t.Fatalf("%s, %d events\n%s", what, len(want.due), text)
		}
	})
}

func TestAJournalThatCannotBePlayedIsRefused(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "t.csv")
	if err := os.WriteFile(trace, []byte("timestamp,value\n1,5\n2,5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"": "is empty; engine load journal writes one",
		"changes: [{profile: 5/s, content: {template: nope}}]":                              "changes.0: content.template: must be one of",
		"changes: [{profile: 5/s, content: {template: none, messages: [a]}}]":               "changes.0: content.messages.0: must have a source",
		"changes: [{profile: 5/s, content: {}, content_hash: abc}]":                         "changes.0: the content is not that of the run any more",
		"changes: [{profile: 5/s, hash: abc}]":                                              ":1:21: changes.0.profile: was abc in that run and is ",
		"changes: [{profile: {phases: [{constant: -5/s}]}}]":                                ":1:42: changes.0.profile.phases.0.constant: must be at least 0",
		"changes: [{profile: {journal: x.yaml}}]":                                           "cannot be played by a journal again",
		"changes: [{profile: {phases: [{trace: {file: t.csv}, for: 1s}]}, hash: abc}]":      "a trace that it names has changed since",
		"changes: [{profil: 5/s}]":                                                          "changes.0.profil: unknown key",
		"journal: {seed: x}\nchanges: [{profile: 5/s}]":                                     ":1:17: journal.seed: must be a whole number",
		"changes: [{profile: 5/s}, {at: 1s, rate: 5/s, hold: false}, {at: 2s, next: true}]": "changes.1.hold: must not be false beside a rate",
	} {
		file := filepath.Join(dir, "run.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var p stage.Problems
		config(func(c *Config) { c.Load.Journal = stage.Path(file) }).Validate(&p)
		if len(p.Found) == 0 || p.Found[0].Key != "load.journal" || !strings.Contains(p.Found[0].Text, want) {
			t.Errorf("%q: %+v, want %s", text, p.Found, want)
		}
	}
	var p stage.Problems
	config(func(c *Config) { c.Load.Journal, c.Load.Name, c.Rate = "x.yaml", "flash", 5 }).Validate(&p)
	if text := fmt.Sprint(p.Found); len(p.Found) != 2 || !strings.Contains(text, "has no place beside other keys") || !strings.Contains(text, "rate has no place") {
		t.Errorf("%s", text)
	}
	_, h := loaded(t, "1k/s")
	if code, _, refused := ask(t, h, "PUT", "", "journal: run.yaml"); code != 422 || !strings.Contains(refused.Problems[0].Text, "cannot be played into a route that runs") {
		t.Errorf("%d %+v", code, refused)
	}
	if w := request(h, "GET", "/../../routes/r/load/journal"); w.Code == 200 {
		t.Errorf("a journal without a database: %d %s", w.Code, w.Body)
	}
}

func TestNothingIsLeftOfAGeneratorWhoseJournalCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	db := kept(t, filepath.Join(dir, "state.db"))
	defer db.Close()
	made := journal.Journal{DB: db, Route: "r"}
	if err := made.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TRIGGER full BEFORE INSERT ON generator_load BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"); err != nil {
		t.Fatal(err)
	}
	profile := filepath.Join(dir, "mine.yaml") // which is watched
	if err := os.WriteFile(profile, []byte("phases: [{constant: 100/s}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	s := settings(http.NewServeMux())
	s.State = db
	if _, err := config(func(c *Config) { c.Load.File = stage.Path(profile) }).Open(t.Context(), s); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("opened, with the error %v", err)
	}
	if err := leaks.Find(before); err != nil {
		t.Error(err)
	}
}

func TestTheJournalIsServedAndItsRunsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kept(t, filepath.Join(t.TempDir(), "state.db"))
		defer db.Close()
		mux := http.NewServeMux()
		s := settings(mux)
		s.State = db
		opened, err := config(func(c *Config) { c.Rate, c.API, c.Start = 100, base, false }).Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		get := func(query string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", load.JournalPath("r")+query, nil))
			return w
		}
		if w := get(""); w.Code != 404 || !strings.Contains(w.Body.String(), "no such run") {
			t.Errorf("before any run: %d %s", w.Code, w.Body)
		}
		for range 2 {
			request(mux, "POST", "/start")
			readEvents(t, opened.(*reader), time.Second+tick/2)
			request(mux, "POST", "/stop")
			ask(t, mux, "PATCH", "", `{"scale":2}`) // of a load that stands still: the next run begins with it
		}
		if w := get("?run=1"); w.Code != 200 || !strings.Contains(w.Body.String(), `"events":100,`) || strings.Contains(w.Body.String(), "scale") {
			t.Errorf("the first run: %d %s", w.Code, w.Body)
		}
		if w := get(""); w.Code != 200 || !strings.Contains(w.Body.String(), `"run":2,`) || !strings.Contains(w.Body.String(), `"scale":2}`) {
			t.Errorf("the last run: %d %s", w.Code, w.Body)
		}
		for query, want := range map[string]int{"?run=3": 404, "?run=x": 422, "?run=-1": 422} {
			if w := get(query); w.Code != want {
				t.Errorf("%s: %d %s", query, w.Code, w.Body)
			}
		}
		if err := opened.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
