package poison_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/engine/cli"
	"millrace/internal/ports"
)

// through is a pipeline whose bad events come out of a topic: a number that is
// too small is bad, and no replay mends it.
const through = `
pipeline: shop
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}}
routes:
  make:
    source: {generator: {rate: 2k/s, count: 50, seed: 7}}
    sink: {kafka: {topic: orders, partitions: 1%[3]s}}
  orders:
    source: {kafka: {topic: orders, group: shop}}
    middleware:
      - poison_queue: {topic: dlq}
      - filter: {when: 'level < WARN or attributes.nothing > 5'}
    sink: {drop: {}}
`

// back sends what failed into the topic again.
const back = `
pipeline: back
listen: %[1]s
state: %[2]s/state
resources: {kafka: {brokers: embedded}}
routes:
  again:
    source: {poison: {topic: dlq, max_replays: 2}}
    sink: {kafka: {topic: orders, partitions: 1%[3]s}}
`

const avro = `, value: {avro: log.avsc}`

const schema = `{"type":"record","name":"E","fields":[
	{"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},{"name":"level","type":"string"},{"name":"message","type":"string"},
	{"name":"metadata","type":{"type":"map","values":"string"}}]}`

// TestTheCountOfReplaysSurvivesATopic: the guard against events that go round
// for ever must work when their way leads through Kafka.
func TestTheCountOfReplaysSurvivesATopic(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	for name, value := range map[string]string{"JSON": "", "Avro with text attributes": avro, "as received": "forward"} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, dir: t.TempDir()}
			w.write("log.avsc", schema)
			format := strings.TrimSuffix(value, "forward")
			w.file = w.write("shop.yaml", fmt.Sprintf(through, ports.Address(ports.One(t)), w.dir, format))
			w.redrive = w.write("back.yaml", fmt.Sprintf(back, ports.Address(ports.One(t)), w.dir, format))
			w.engine("run", w.file)
			all, replays := w.stored()
			if all < 3 || replays != 0 {
				t.Fatalf("%d events stored, %d replays: the story needs some", all, replays)
			}
			for round := 1; round <= 3; round++ {
				if value == "forward" {
					code := cli.ExitOK
					if round > 2 { // all were left alone
						code = cli.ExitFailure
					}
					w.exits(code, "dlq", "replay", w.file, "--to", "topic:orders", "--max-replays", "2")
				} else {
					w.engine("run", w.redrive)
				}
				w.engine("run", w.file, "--set", "routes.make.source.generator.count=1", "--set", "routes.make.source.generator.seed=1")
				n, replays := w.stored()
				if want := min(round, 2); replays != want || n < all {
					t.Fatalf("after round %d: %d of %d stored, %d replays, want %d", round, n, all, replays, want)
				}
			}
		})
	}
}

// TestACountOfReplaysCannotBeForged has producers say that their events were
// replayed often: the guard must not keep those from being replayed.
func TestACountOfReplaysCannotBeForged(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	w := &world{T: t, dir: t.TempDir()}
	text := fmt.Sprintf(through, ports.Address(ports.One(t)), w.dir, "")
	w.file = w.write("shop.yaml", strings.Replace(text, "seed: 7}}\n", "seed: 7}}\n    middleware: [{enrich: {set: {replay_count: '4'}}}]\n", 1))
	w.engine("run", w.file)
	all, replays := w.stored()
	if all < 3 || replays != 0 {
		t.Fatalf("%d events stored, %d replays: none was replayed", all, replays)
	}
	if first := w.engine("dlq", "export", w.file); !strings.Contains(first, `"payload"`) {
		t.Fatal(first)
	}
	if said, _ := w.exits(cli.ExitFailure, "dlq", "replay", w.file); !strings.Contains(said, fmt.Sprintf("0 of %d delivered, %[1]d failed again\n", all)) {
		t.Error(said)
	}
	if n, replays := w.stored(); n != all || replays != 1 {
		t.Errorf("after one replay: %d of %d stored, %d replays", n, all, replays)
	}
	said, complained := w.exits(cli.ExitFailure, "dlq", "replay", w.file, "--max-replays", "1")
	if !strings.Contains(said, fmt.Sprintf("%d left alone", all)) || !strings.Contains(complained, "are still stored") {
		t.Errorf("those that were left alone: %s%s", said, complained)
	}
}
