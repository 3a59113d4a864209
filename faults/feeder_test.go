//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/faults/internal/ledger"
	"millrace/internal/evidence"
)

// feeder sends events to a topic: issued to the ledger first, owed once Kafka
// has acknowledged them.
type feeder struct {
	t      testing.TB
	client *kgo.Client
	topic  string
	ledger *ledger.Ledger
	random *rand.Rand
	size   int // of a message, at least
	sent   int
	failed atomic.Int64

	stop chan struct{}
	done chan struct{} // nil: nothing runs
}

// keys is how many sequences of events there are whose order is to be kept.
const keys = 24

func newFeeder(t testing.TB, brokers, topic string, l *ledger.Ledger, seed uint64) *feeder {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.DisableClientMetrics(), kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond), kgo.MaxBufferedRecords(200_000))
	must(t, err)
	f := &feeder{t: t, client: client, topic: topic, ledger: l, random: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() {
		f.rest()
		client.Close()
	})
	return f
}

// start sends rate events/s until finish.
func (f *feeder) start(rate int) {
	f.stop, f.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(f.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		began, before := time.Now(), f.sent
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			for due := before + int(time.Since(began).Seconds()*float64(rate)); f.sent < due; {
				f.send()
			}
		}
	}()
}

// rest stops sending for now.
func (f *feeder) rest() {
	if f.done != nil {
		close(f.stop)
		<-f.done
		f.done = nil
	}
}

// finish stops sending, and waits until all that was sent is owed.
func (f *feeder) finish() {
	f.t.Helper()
	f.rest()
	ctx, cancel := context.WithTimeout(context.Background(), eventually)
	defer cancel()
	if err := f.client.Flush(ctx); err != nil {
		f.t.Fatalf("the feeder's events were not acknowledged: %v", err)
	}
	if n := f.failed.Load(); n > 0 {
		f.t.Logf("%d events were refused by the source's Kafka and are not owed", n)
	}
}

// sendAll sends n events now.
func (f *feeder) sendAll(n int) {
	for range n {
		f.send()
	}
	f.finish()
}

func (f *feeder) send() {
	record, e := f.make()
	f.ledger.Issue(&e)
	f.sent++
	f.client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			f.failed.Add(1)
			return
		}
		f.ledger.Accept(e.ID)
	})
}

// make makes an event, different from all others in what it says.
func (f *feeder) make() (*kgo.Record, evidence.Event) {
	key := fmt.Sprintf("key-%d", f.random.IntN(keys))
	var id uuid.UUID
	for i := range id {
		id[i] = byte(f.random.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	text := fmt.Sprintf("event %d says \"%x\" – überall", f.sent, f.random.Uint64())
	if pad := f.size - len(text); pad > 0 {
		text += strings.Repeat(string('a'+rune(f.random.IntN(26))), pad)
	}
	value, err := json.Marshal(map[string]any{
		"id": id, "timestamp": time.Now().UTC().Truncate(time.Microsecond), "level": "INFO", "source": "feeder", "host": "faults",
		"message": text, "correlation_id": key, "organisation": fmt.Sprint("org-", f.random.IntN(5)),
		"metadata": map[string]any{"sequence": f.sent, "share": float64(f.random.IntN(1000)) + 0.25, "even": f.sent%2 == 0,
			"token": fmt.Sprintf("%x", f.random.Uint64())},
	})
	must(f.t, err)
	record := &kgo.Record{Key: []byte(key), Value: value}
	e, err := evidence.DecodeJSON(record)
	must(f.t, err)
	return record, e
}
