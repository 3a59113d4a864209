//go:build real

package kafka

import (
	"context"
	"os"
	"testing"

	"github.com/google/uuid"

	"millrace/engine/stage"
)

// cluster is a place with a new topic of so many partitions, on the Kafka that
// KAFKA_BROKERS names.
func cluster(t testing.TB, partitions int32) *lab {
	t.Helper()
	brokers := os.Getenv("KAFKA_BROKERS")
	if brokers == "" {
		t.Fatal("KAFKA_BROKERS is not set: this test needs a real Kafka (make services-up, then make test-real)")
	}
	name := "source-test-" + uuid.NewString()
	l := &lab{brokers: brokers, topic: name, group: name, clock: stage.SystemClock}
	admin := l.admin(t)
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, l.topic); err != nil {
		t.Fatalf("create a topic at %s: %v", brokers, err)
	}
	t.Cleanup(func() {
		_, _ = admin.DeleteTopic(context.Background(), l.topic)
		_, _ = admin.DeleteGroup(context.Background(), l.group)
	})
	return l
}
