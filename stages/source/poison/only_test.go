package poison_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"millrace/engine/cli"
	"millrace/internal/ports"
	"millrace/stages"
)

const two = `
pipeline: two
listen: %[1]s
state: %[2]s/state
routes:
  orders:
    source: {generator: {rate: 2k/s, count: 100, seed: 7}}
    middleware: [{poison_queue: {}}, {filter: {when: 'level < ERROR or attributes.user_id > 5'}}]
    sink: {drop: {}}
  bills:
    source: {generator: {rate: 2k/s, count: 100, seed: 8}}
    middleware: [{poison_queue: {}}, {filter: {when: 'level < ERROR or attributes.user_id > 5'}}]
    sink: {drop: {}}
`

func TestBadEventsOfAPartOfAPipelineAreFound(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := &world{T: t, dir: t.TempDir()}
	w.file = w.write("two.yaml", fmt.Sprintf(two, ports.Address(ports.One(t)), w.dir))
	w.engine("run", w.file, "--only", "bills")

	if _, hint := w.exits(cli.ExitFailure, "dlq", "ls", w.file); !strings.Contains(hint, "--only bills looks there") {
		t.Errorf("without --only, before the whole has run: %s", hint)
	}
	if said := w.engine("dlq", "ls", w.file, "--only", "bills"); !strings.Contains(said, "bills.poison_queue: ") || strings.Contains(said, ": 0 bad events") {
		t.Errorf("with --only: %s", said)
	}
	if said, _ := w.exits(cli.ExitFailure, "dlq", "replay", w.file, "--only", "bills"); !strings.Contains(said, "bills.poison_queue: replayed to route bills: 0 of ") {
		t.Errorf("replay: %s", said)
	}
	w.engine("dlq", "purge", w.file, "--only", "bills", "--yes")
	if said := w.engine("dlq", "ls", w.file, "--only", "bills"); !strings.Contains(said, "bills.poison_queue: 0 bad events") {
		t.Errorf("after a purge: %s", said)
	}
	if _, said := w.exits(cli.ExitUsage, "dlq", "ls", "--only", "bills"); !strings.Contains(said, "need a pipeline file") {
		t.Errorf("without a file: %s", said)
	}
}

func TestTheEngineOfAPartIsNotTakenForAnother(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := &world{T: t, dir: t.TempDir()}
	w.file = w.write("two.yaml", fmt.Sprintf(two, ports.Address(ports.One(t)), w.dir))
	w.engine("run", w.file, "--only", "orders")
	ended := make(chan string, 1)
	go func() {
		var log bytes.Buffer
		cli.Run(stages.All(), []string{"run", w.file, "--only", "bills", "--for", "10m", "--set", "routes.bills.source.generator.count=0"}, &log, &log)
		ended <- log.String()
	}()
	for code := -1; code != cli.ExitOK; { // the engine starts
		select {
		case log := <-ended:
			t.Fatalf("the engine ended:\n%s", log)
		default:
			code = cli.Run(stages.All(), []string{"dlq", "ls", w.file, "--route", "bills"}, &bytes.Buffer{}, &bytes.Buffer{})
		}
	}
	said, hint := w.exits(cli.ExitOK, "dlq", "ls", w.file)
	if !strings.Contains(said, "bills.poison_queue") || !strings.Contains(hint, "not looked at here: route orders") {
		t.Errorf("of the engine that runs: %s%s", said, hint)
	}
	if said := w.engine("dlq", "ls", w.file, "--only", "orders"); !strings.Contains(said, "orders.poison_queue") || strings.Contains(said, "bills") {
		t.Errorf("of the one that does not: %s", said)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil { // it is heard by the engine, which runs
		t.Fatal(err)
	}
	<-ended
}
