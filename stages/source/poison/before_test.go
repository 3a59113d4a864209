package poison_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"millrace/engine/cli"
	"millrace/internal/ports"
	"millrace/stages"
)

// changing is a pipeline that changes events before its poison queue, in a way
// that shows how often it was done.
const changing = `
pipeline: lines
listen: %[1]s
state: %[2]s/state
resources: {database: {kind: sql, dsn: "sqlite:queue.db"}}
routes:
  lines:
    source: {file: {paths: ["%[2]s/app.log"], follow: %[3]s}}
    middleware:
      - set: {expressions: {message: 'message + "!"', attributes.number: '%[4]s'}}
      - poison_queue: {}
      - filter: {when: '%[5]s'}
    sink: {sql: {table: mended}}
`

// TestAReplayAppliesEachTransformOnce has lines that a filter inside of the queue
// refuses, and one that is refused before it came to the queue.
func TestAReplayAppliesEachTransformOnce(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	t.Run("without an engine", func(t *testing.T) {
		w, _, file := lineWorld(t)
		file("int(message)", "int(attributes.nothing) > 5", "false")
		w.engine("run", w.file)
		if bad, _ := w.stored(); bad != 3 {
			t.Fatalf("%d bad events, the story needs 3", bad)
		}
		file("len(message)", "message != nil", "false")
		said := w.engine("dlq", "replay", w.file)
		if !strings.Contains(said, "3 of 3 delivered") || strings.Count(said, "no engine runs") != 1 {
			t.Error(said)
		}
		mended(t, w, "\t7!\t", "\t8!\t", "\tfull!\t")
	})
	t.Run("into a route that runs", func(t *testing.T) {
		w, address, file := lineWorld(t)
		file("int(message)", "int(attributes.nothing) > 5", "false")
		w.engine("run", w.file)
		file("len(message)", "message != nil", "true")
		stop := w.runs()
		for code := -1; code != cli.ExitOK; { // the bad events were there before: the route may not be
			code = cli.Run(stages.All(), []string{"dlq", "ls", w.file, "--addr", address}, io.Discard, io.Discard)
		}
		said, complained := w.exits(cli.ExitFailure, "dlq", "replay", w.file)
		if !strings.Contains(said, "2 of 2 delivered") || !strings.Contains(complained, "1 bad events were refused before they came to the queue") ||
			!strings.Contains(complained, "1 of 3 bad events are still stored") {
			t.Errorf("%s%s", said, complained)
		}
		stop()
		if bad, _ := w.stored(); bad != 1 {
			t.Errorf("%d bad events are left, want 1", bad)
		}
		w.engine("dlq", "replay", w.file)
		mended(t, w, "\t7!\t", "\t8!\t", "\tfull!\t")
	})
}

func lineWorld(t *testing.T) (w *world, address string, file func(number, when, follow string)) {
	w = &world{T: t, dir: t.TempDir()}
	w.write("app.log", "7\n8\nfull\n")
	address = ports.Address(ports.One(t))
	return w, address, func(number, when, follow string) {
		w.file = w.write("lines.yaml", fmt.Sprintf(changing, address, w.dir, follow, number, when))
	}
}

func mended(t *testing.T, w *world, want ...string) {
	t.Helper()
	rows := w.rows("mended")
	for _, message := range want {
		if strings.Count(rows, message) != 1 {
			t.Errorf("%q is not there once:\n%s", message, rows)
		}
	}
	if strings.Count(rows, `"number"`) != len(want) {
		t.Errorf("not all have their number:\n%s", rows)
	}
}
