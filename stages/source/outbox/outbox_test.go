package outbox

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
	"millrace/stages/resource/sql"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// documented is the statement that the documentation gives to applications.
func documented(t testing.TB) string {
	t.Helper()
	source, err := files.ReadFile("outbox.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)\t//\t(INSERT INTO .*?;)\n`).FindSubmatch(source)
	if found == nil {
		t.Fatal("the documentation of topic gives no statement")
	}
	return strings.ReplaceAll(string(found[1]), "\t//\t", "")
}

func TestTheDocumentationGivesAStatement(t *testing.T) {
	if s := documented(t); strings.Count(s, "\n") != 1 || !strings.Contains(s, "pg_current_xact_id()") {
		t.Errorf("got %q", s)
	}
}

func TestValidate(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"":              func(*Config) {},
		"topic":         func(c *Config) { c.Topic = `a"; DROP TABLE x` },
		"group":         func(c *Config) { c.Group = "" },
		"schema":        func(c *Config) { c.Schema = "guess" },
		"codec":         func(c *Config) { c.Codec = "avro" },
		"poll_interval": func(c *Config) { c.PollInterval = 0 },
	} {
		c := Stage.New().(*Config)
		c.Topic = "events"
		change(c)
		var p stage.Problems
		c.Validate(&p)
		if key == "" && len(p.Found) != 0 || key != "" && (len(p.Found) != 1 || p.Found[0].Key != key) {
			t.Errorf("%q: got %v", key, p.Found)
		}
	}
}

func TestSQLiteWillNotDo(t *testing.T) {
	c := sql.Stage.New().(*sql.Config)
	c.Dsn = "sqlite:audit.db"
	s := stagetest.Settings(t)
	db, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	outbox := Stage.New().(*Config)
	outbox.Topic, outbox.Resource = "events", "database"
	stagetest.WithResource("database", db)(&s)
	_, err = outbox.Open(t.Context(), s)
	text := fmt.Sprint(err)
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(text, "needs PostgreSQL") || !strings.Contains(text, "resources.database.dsn") {
		t.Errorf("got %v", err)
	}
}

func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	r := away(t)
	_, err := r.Read(t.Context())
	if stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	if err := r.Probe(t.Context()); err == nil {
		t.Error("Probe says that it is there")
	}
}

// away is a reader of a database that is not there.
func away(t *testing.T) *reader {
	t.Helper()
	c := sql.Stage.New().(*sql.Config)
	c.Dsn = "postgres://user@127.0.0.1:1/x"
	s := stagetest.Settings(t)
	db, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	outbox := Stage.New().(*Config)
	outbox.Topic = "events"
	r := newReader(outbox, s, db.(*sql.Database))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		_ = db.Close()
	})
	return r
}

func rows(from, to int) []row {
	var out []row
	for i := from; i < to; i++ {
		e := stagetest.Events(fmt.Sprint("event ", i))[0]
		msg, _ := (&reader{codec: "json"}).codec.Encode(&e)
		out = append(out, row{at: position{offset: int64(i), transaction: "7"}, msg: msg})
	}
	return out
}

var delivered = event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: 1}}

func TestThePositionFollowsSettledEventsInOrder(t *testing.T) {
	r := away(t)
	one, two, three := handed(t, r, rows(1, 3)), handed(t, r, rows(3, 5)), handed(t, r, rows(5, 7))
	two.Done(delivered)
	if r.settled.offset != 0 {
		t.Errorf("the position is %v although the first parcel is not settled", r.settled)
	}
	one.Done(delivered)
	if r.settled.offset != 4 {
		t.Errorf("the position is %v, want 4", r.settled)
	}
	three.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: 1, event.Returned: 1}})
	if r.settled.offset != 4 || !r.failed {
		t.Errorf("a parcel that came back moved the position to %v", r.settled)
	}
	one.Done(delivered) // of a session that is over: nothing
	if r.settled.offset != 4 {
		t.Errorf("the position is %v", r.settled)
	}
}

func TestABadRowDoesNotKeepOthersBack(t *testing.T) {
	r := away(t)
	all := rows(1, 4)
	all[1].msg.Payload = []byte(`[1]`)
	all[2].err = fmt.Errorf("metadata must be an object of texts")
	p := handed(t, r, all)
	if len(p.Refused) != 2 || p.Refused[0].Index != 1 || p.Refused[1].Index != 2 || p.Events[0].Message != "event 1" {
		t.Fatalf("got %v", p.Refused)
	}
	for i := range p.Events {
		if string(p.Events[i].Raw) != string(all[i].msg.Payload) || p.Events[i].Offset != int64(i+1) {
			t.Errorf("event %d: %+v", i, p.Events[i])
		}
	}
	if text := p.Refused[0].Err.Error(); !strings.Contains(text, "offset 2") {
		t.Errorf("want the place of the row, got %q", text)
	}
}

func TestAnEventWithoutAnIDHasTheSameAtEachReading(t *testing.T) {
	r := away(t)
	bare := func() []row {
		out := rows(9, 10)
		out[0].msg.UUID, out[0].msg.Payload = "", []byte(`{"message":"x"}`)
		return out
	}
	one, again := handed(t, r, bare()), handed(t, r, bare())
	if one.Events[0].ID != again.Events[0].ID || one.Events[0].ID.Version() == 0 {
		t.Errorf("%v and %v", one.Events[0].ID, again.Events[0].ID)
	}
}
