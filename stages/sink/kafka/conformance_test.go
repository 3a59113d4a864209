package kafka_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages"
	"millrace/stages/internal/eventjson"
	kafkaresource "millrace/stages/resource/kafka"
	"millrace/stages/sink/kafka"
)

func TestConformance(t *testing.T) {
	stagetest.Conformance(t, kafka.Stage, stagetest.Options{
		Catalogue: stages.All(),
		BadEvent: func(int) event.Event {
			return event.Event{ID: uuid.New(), Time: time.Now(), Message: strings.Repeat("x", 2<<20)}
		},
		Delivered: delivered,
	})
}

// delivered reads the topic up to its present end.
func delivered(t stagetest.T, b stagetest.Bench) []event.Event {
	t.Helper()
	cluster, err := stage.Use[*kafkaresource.Cluster](b.Settings, "kafka")
	if err != nil {
		t.Fatalf("%v", err)
	}
	client, err := cluster.NewClient(kgo.ConsumeTopics("log-events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "log-events")
	if err != nil {
		t.Fatalf("%v", err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var out []event.Event
	for left > 0 {
		records := client.PollFetches(ctx).Records()
		if ctx.Err() != nil {
			t.Fatalf("%d records are missing", left)
		}
		for _, r := range records {
			var e event.Event
			if err := eventjson.Decode(r.Value, &e); err != nil {
				t.Fatalf("%v", err)
			}
			out, left = append(out, e), left-1
		}
	}
	return out
}
