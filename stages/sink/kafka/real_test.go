//go:build real

package kafka

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/stages/internal/avro"
)

// brokers are those of a real cluster.
func brokers(t *testing.T) string {
	t.Helper()
	b := os.Getenv("KAFKA_BROKERS")
	if b == "" {
		t.Fatal("KAFKA_BROKERS is not set: this test needs a real Kafka (make services-up, then make test-real)")
	}
	return b
}

func TestRealKafkaHoldsEveryEventForAnotherAvroImplementation(t *testing.T) {
	addresses := brokers(t)
	cluster := clusterAt(t, addresses)
	topic := fmt.Sprintf("millrace-test-%d", time.Now().UnixNano())
	w := openSink(t, cluster, func(c *Config) { c.Topic, c.Value.Avro, c.Key = topic, schemaFile, "correlation_id" })
	t.Cleanup(func() {
		client, err := cluster.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		// the test's own context has ended by now
		if _, err := kadm.NewClient(client).DeleteTopic(context.Background(), topic); err != nil {
			t.Log(err)
		}
	})
	batch := events(10000)
	want := map[string]string{}
	for i := range batch {
		want[batch[i].ID.String()] = batch[i].Message
	}
	for first := 0; first < len(batch); first += 500 {
		b := event.NewBatch(batch[first : first+500])
		if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
			t.Fatalf("%v, %v", err, b.FirstErr(event.Open))
		}
	}
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	schema := hamba.MustParse(string(text))
	for _, r := range consume(t, strings.Split(addresses, ","), topic, len(batch)) {
		id, message := decoded(t, schema, r)
		if want[id] != message {
			t.Fatalf("event %s says %q, want %q", id, message, want[id])
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("%d events are missing", len(want))
	}
}

// decoded reads a record with hamba/avro alone.
func decoded(t *testing.T, schema hamba.Schema, r *kgo.Record) (id, message string) {
	t.Helper()
	_, body, ok := avro.Unframe(r.Value)
	if !ok {
		t.Fatalf("no registry frame in %x", r.Value)
	}
	var fields map[string]any
	if err := hamba.Unmarshal(schema, body, &fields); err != nil {
		t.Fatal(err)
	}
	raw := fields["id"].([16]byte)
	if fields["correlation_id"] != string(r.Key) {
		t.Fatalf("key %q on %v", r.Key, fields)
	}
	return string(appendUUID(nil, raw)), fields["message"].(string)
}
