package poison_test

import (
	"fmt"
	"strings"
	"testing"

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
					w.engine("dlq", "replay", w.file, "--to", "topic:orders", "--max-replays", "2")
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
