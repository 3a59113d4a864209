//go:build faults

package faults

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/evidence"
)

func TestPoisonRecordFirstInAPartition(t *testing.T) {
	l := newLab(t, theSite(t), 8, 1)
	var bad []string
	for partition := range int32(3) {
		for _, text := range []string{"neither JSON nor Avro", `{"message": `, `{"level": 7}`} {
			value := fmt.Sprintf("%s in partition %d", text, partition)
			bad = append(bad, value)
			evidence.Produce(t, l.site.kafkaIn.Direct(), &kgo.Record{Topic: l.topic("input"), Partition: partition, Value: []byte(value)})
		}
	}
	l.start()
	l.sendAll(3000)
	l.caughtUp()
	await(t, soon, "the poison queue has the bad ones", func() bool { return len(l.poison()) >= len(bad) })
	l.stopped()
	poison := l.poison()
	slices.Sort(poison)
	slices.Sort(bad)
	if !slices.Equal(poison, bad) {
		t.Errorf("the poison queue has %q, want the bad records byte for byte, once each: %q", poison, bad)
	}
	l.told(l.judgeSinks(), "%d bad records, first in each of 3 partitions, are in the poison queue as they came", len(bad))
}
