package poison_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"millrace/engine/cli"
	"millrace/engine/stage"
	"millrace/internal/ports"
)

const lines = `
pipeline: lines
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}, database: {kind: sql, dsn: "sqlite:queue.db"}}
routes:
  lines:
    source: {file: {paths: ["%[2]s/app.log"], follow: false, source: myapp}}
    middleware: [{poison_queue: {%[3]s}}, {filter: {when: 'int(message) > 5'}}]
    sink: {drop: {}}
`

// TestLinesOfAFileAreMendedWithTheirSourceAndPlace has lines that a rule
// cannot be applied to, for each kind of store.
func TestLinesOfAFileAreMendedWithTheirSourceAndPlace(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store)
			w.write("app.log", "disk full\n7\nout of memory\n")
			w.file = w.write("lines.yaml", fmt.Sprintf(lines, ports.Address(ports.One(t)), w.dir, store))
			w.engine("run", w.file)
			w.exits(cli.ExitFailure, "dlq", "replay", w.file) // nothing was mended
			var e stage.PoisonEntry
			if err := json.Unmarshal([]byte(strings.SplitN(w.engine("dlq", "export", w.file), "\n", 2)[0]), &e); err != nil {
				t.Fatal(err)
			}
			shown := w.engine("dlq", "show", e.ID, w.file)
			for _, want := range []string{`"source":"myapp"`, `app.log"`, `"host":`, "bad_event"} {
				if !strings.Contains(shown, want) {
					t.Errorf("%s is not shown:\n%s", want, shown)
				}
			}
			if strings.Contains(shown, "errorString") {
				t.Errorf("a Go type that says nothing is shown:\n%s", shown)
			}
			rerun := w.redrive
			if name == "state directory" { // a state directory has the bad events of its own pipeline
				rerun = w.write("again.yaml", strings.Replace(fmt.Sprintf(redrive, ports.Address(ports.One(t)), w.dir, store), "pipeline: redrive", "pipeline: lines", 1))
			}
			w.engine("run", rerun)
			rows := w.rows("mended")
			if strings.Count(rows, "\tmyapp\t") != 2 || strings.Count(rows, "app.log\"") != 2 || !strings.Contains(rows, "diskfull") {
				t.Errorf("mended:\n%s", rows)
			}
		})
	}
}

// topicToTable leads lines that were replayed to a topic into a table.
const topicToTable = `
pipeline: lines
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}, database: {kind: sql, dsn: "sqlite:queue.db"}}
routes:
  lines:
    source: {kafka: {topic: lines, group: g, value: raw}}
    sink: {sql: {table: mended}}
  made:
    source: {generator: {count: 1}}
    sink: {kafka: {topic: lines, partitions: 1}}
`

// TestAReplayToATopicKeepsWhatTheSourceGave has lines of a file come back by
// way of a topic: as they would by way of the route.
func TestAReplayToATopicKeepsWhatTheSourceGave(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := newWorld(t, "")
	w.write("app.log", "disk full\n7\nout of memory\n")
	w.file = w.write("lines.yaml", fmt.Sprintf(lines, ports.Address(ports.One(t)), w.dir, ""))
	w.engine("run", w.file)
	again := w.write("again.yaml", fmt.Sprintf(topicToTable, ports.Address(ports.One(t)), w.dir))
	w.engine("run", again) // makes the topic, and ends when that is made and read
	ids := make(map[string]bool)
	for _, line := range strings.Split(strings.TrimSpace(w.engine("dlq", "export", w.file)), "\n") {
		var e stage.PoisonEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		ids[e.EventID] = true
	}
	said := w.engine("dlq", "replay", w.file, "--all", "--to", "topic:lines")
	if !strings.Contains(said, "replayed to topic lines: 2 of 2 delivered") {
		t.Error(said)
	}
	w.engine("run", again)
	rows := w.rows("mended")
	if strings.Count(rows, "\tmyapp\t") != 2 || strings.Count(rows, "app.log\"") != 2 || !strings.Contains(rows, "\tdiskfull\t") {
		t.Errorf("what came out of the topic:\n%s", rows)
	}
	for id := range ids {
		if !strings.Contains(rows, id) {
			t.Errorf("event %s has another id:\n%s", id, rows)
		}
	}
}
