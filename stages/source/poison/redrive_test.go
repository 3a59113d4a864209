package poison_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"millrace/engine/cli"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/internal/ports"
	"millrace/stages"
	"millrace/stages/source/poison"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// pipeline is the way of an event that is bad at first: its customer is text,
// where a rule wants a number.
const pipeline = `
pipeline: shop
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}, database: {kind: sql, dsn: "sqlite:queue.db"}}
routes:
  orders:
    source: {generator: {rate: 2k/s, count: 200, seed: 7}}
    middleware:
      - poison_queue: {%[3]s}
      - filter: {when: 'level < ERROR or attributes.user_id > 5'}
    sink: {drop: {}}
`

const redrive = `
pipeline: redrive
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}, database: {kind: sql, dsn: "sqlite:queue.db"}}
routes:
  again:
    source: {poison: {%[3]s}}
    middleware: [{poison_queue: {%[3]s}}, {enrich: {set: {mended: sure}}}]
    sink: {sql: {table: mended}}
`

type world struct {
	*testing.T
	dir, file, redrive string
}

func newWorld(t *testing.T, store string) *world {
	w := &world{T: t, dir: t.TempDir()}
	w.file = w.write("shop.yaml", fmt.Sprintf(pipeline, ports.Address(ports.One(t)), w.dir, store))
	w.redrive = w.write("redrive.yaml", fmt.Sprintf(redrive, ports.Address(ports.One(t)), w.dir, store))
	return w
}

func (w *world) write(name, text string) string {
	name = filepath.Join(w.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return name
}

// engine runs a command that has to succeed.
func (w *world) engine(args ...string) string {
	w.Helper()
	out, _ := w.exits(cli.ExitOK, args...)
	return out
}

// exits runs a command that has to end with a code.
func (w *world) exits(want int, args ...string) (out, errs string) {
	w.Helper()
	var said, complained bytes.Buffer
	if code := cli.Run(stages.All(), args, &said, &complained); code != want {
		w.Fatalf("engine %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &said, &complained)
	}
	return said.String(), complained.String()
}

// stored is what the pipeline's queue holds.
func (w *world) stored() (events, replays int) {
	w.Helper()
	var answer struct{ Groups []stage.PoisonGroup }
	if err := json.Unmarshal([]byte(w.engine("dlq", "ls", w.file, "--json")), &answer); err != nil {
		w.Fatal(err)
	}
	for _, g := range answer.Groups {
		events, replays = events+int(g.Events), max(replays, g.Replays)
	}
	return events, replays
}

// rows is a table of the database as text, for what is in it.
func (w *world) rows(table string) string {
	w.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "state", "queue.db"))
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.Query("SELECT * FROM " + table)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		w.Fatal(err)
	}
	var all strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		if err := rows.Scan(values...); err != nil {
			w.Fatal(err)
		}
		for _, v := range values {
			all.WriteString(strings.ReplaceAll(string(*v.(*sql.RawBytes)), " ", "") + "\t")
		}
		all.WriteByte('\n')
	}
	return all.String()
}

var stores = map[string]string{
	"state directory": "",
	"topic":           "topic: dlq",
	"table":           "table: dlq",
}

// TestBadEventsAreLookedAtReplayedMendedAndPurged walks through the commands
// with an engine that does not run, for each kind of store.
func TestBadEventsAreLookedAtReplayedMendedAndPurged(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store)
			w.engine("run", w.file)
			all, replays := w.stored()
			if all < 5 || replays != 0 {
				t.Fatalf("%d events stored, %d replays: the story needs some", all, replays)
			}

			first := strings.SplitN(w.engine("dlq", "export", w.file), "\n", 2)[0]
			var e stage.PoisonEntry
			if err := json.Unmarshal([]byte(first), &e); err != nil || e.Stage == "" || e.Form != "event" {
				t.Fatalf("exported %+v, %v", e, err)
			}
			if shown := w.engine("dlq", "show", e.ID, w.file); !strings.Contains(shown, e.EventID) || !strings.Contains(shown, "refused by") {
				t.Errorf("shown:\n%s", shown)
			}
			if said := w.engine("dlq", "replay", w.file, "--dry-run"); !strings.Contains(said, fmt.Sprintf("%d bad events would be replayed", all)) {
				t.Error(said)
			}

			said, complained := w.exits(cli.ExitFailure, "dlq", "replay", w.file, "--all") // nothing was mended
			for _, want := range []string{
				fmt.Sprintf("orders.poison_queue: replayed to route orders: 0 of %d delivered, %[1]d failed again\n", all),
				"\n  such as: filter when cannot be decided",
			} {
				if !strings.Contains(said, want) {
					t.Errorf("the summary lacks %q:\n%s", want, said)
				}
			}
			if want := fmt.Sprintf("%d of %[1]d bad events are still stored", all); !strings.Contains(complained, want) {
				t.Errorf("want %q, got %s", want, complained)
			}
			if n, replays := w.stored(); n != all || replays != 1 {
				t.Errorf("after a replay that failed: %d of %d stored, %d replays", n, all, replays)
			}
			if _, said := w.exits(cli.ExitUsage, "dlq", "replay", w.file, "--all", "--filter", "level == ERROR"); !strings.HasPrefix(said, "--all means every bad event") {
				t.Error(said)
			}
			if said := w.engine("dlq", "replay", w.file, "--max-replays", "1", "--dry-run"); !strings.Contains(said, fmt.Sprintf("%d left alone", all)) {
				t.Error(said)
			}

			w.engine("dlq", "purge", w.file, "--yes", "--filter", fmt.Sprintf("id == %q", e.EventID))
			if n, _ := w.stored(); n != all-1 {
				t.Errorf("after a purge of one: %d of %d stored", n, all)
			}

			w.engine("run", w.redrive)
			rows := w.rows("mended")
			mended, counted := strings.Count(rows, `"mended":"sure"`), strings.Count(rows, `"replay_count":2`)
			if mended != all-1 || counted != all-1 || strings.Contains(rows, e.EventID) {
				t.Errorf("of %d events %d were mended, %d with their count:\n%s", all-1, mended, counted, rows)
			}
			if n, _ := w.stored(); n != 0 {
				t.Errorf("%d are left", n)
			}
			if said := w.engine("dlq", "replay", w.file); !strings.Contains(said, "replayed to route orders: there was nothing to replay") {
				t.Error(said)
			}
			if audit := w.engine("dlq", "audit", w.file); strings.Count(audit, "replayed to") != 2 || strings.Count(audit, "purged 1") != 1 {
				t.Error(audit)
			}
		})
	}
}

// TestARunningEngineIsAsked has the pipeline idle behind its generator while
// commands come.
// runs starts the pipeline, and waits until three of its events have failed. The
// returned stop ends it and is what it logged.
func (w *world) runs(args ...string) (stop func() string) {
	w.Helper()
	ended := make(chan struct{})
	var log string
	go func() {
		defer close(ended)
		var out, errs bytes.Buffer
		cli.Run(stages.All(), append([]string{"run", w.file}, args...), &out, &errs)
		log = errs.String()
	}()
	stop = sync.OnceValue(func() string {
		select {
		case <-ended:
		default:
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil { // it is heard by the engine, which runs
				w.Error(err)
			}
			<-ended
		}
		return log
	})
	w.Cleanup(func() { stop() })
	for {
		select {
		case <-ended:
			w.Fatalf("the engine ended:\n%s", log)
		default:
		}
		var bad bytes.Buffer
		code := cli.Run(stages.All(), []string{"dlq", "export", w.file}, &bad, &bytes.Buffer{}) // its queue may not be open yet
		if code == cli.ExitOK && strings.Count(bad.String(), "\n") >= 3 {
			return stop
		}
	}
}

func TestARunningEngineIsAsked(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := newWorld(t, "")
	w.runs("--for", "10m", "--set", "routes.orders.source.generator.count=0", "--set", "routes.orders.source.generator.rate=200/s")
	said, _ := w.exits(cli.ExitFailure, "dlq", "replay", w.file, "--filter", "attributes.dlq_replays == 0")
	if !strings.Contains(said, "failed again") || strings.Contains(said, "no engine runs") {
		t.Error(said)
	}
	if _, replays := w.stored(); replays < 1 {
		t.Error("no count was raised")
	}
	if audit := w.engine("dlq", "audit", w.file); strings.Count(audit, "replayed to route orders") != 1 {
		t.Error(audit)
	}
}

// TestBadEventsAreReplayedIntoARunningRoute sees to the way of replayed events
// through a whole chain: they belong to no batch of that route's source.
func TestBadEventsAreReplayedIntoARunningRoute(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := newWorld(t, "")
	w.file = w.write("shop.yaml", fmt.Sprintf(pipeline, ports.Address(ports.One(t)), w.dir, "")+`
  mended:
    source: {generator: {rate: 1/s}}
    middleware: [{poison_queue: {}}, {enrich: {set: {mended: sure}}}]
    sink: {sql: {table: mended}}
`)
	stop := w.runs("--set", "routes.orders.source.generator.count=0", "--set", "routes.orders.source.generator.rate=200/s")
	if said, _ := w.exits(cli.ExitOK, "dlq", "replay", w.file, "--route", "orders", "--to", "mended"); strings.Contains(said, "no engine runs") {
		t.Error(said)
	}
	if audit := w.engine("dlq", "audit", w.file); !strings.Contains(audit, "replayed to route mended") {
		t.Error(audit)
	}
	if log := stop(); strings.Contains(log, "panic") {
		t.Error(log)
	}
	if rows := w.rows("mended"); strings.Count(rows, "sure") < 3 {
		t.Errorf("in the table:\n%s", rows)
	}
}

func TestProblemsAreReported(t *testing.T) {
	for want, change := range map[string]func(*poison.Config){
		"must be one of":                 func(c *poison.Config) { c.Codec = "xml" },
		"must be at least 1":             func(c *poison.Config) { c.MaxReplays = 0 },
		"must not be below 0/s":          func(c *poison.Config) { c.Rate = -1 },
		"must not be below 0s":           func(c *poison.Config) { c.OlderThan = -1 },
		"needs a resource of kind kafka": func(c *poison.Config) { c.Topic = "dlq" },
		"needs a resource of kind sql":   func(c *poison.Config) { c.Table = "dlq" },
	} {
		c := poison.Stage.New().(*poison.Config)
		change(c)
		var p stage.Problems
		if c.Validate(&p); len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Text, want) {
			t.Errorf("want %q, got %+v", want, p.Found)
		}
	}
}
