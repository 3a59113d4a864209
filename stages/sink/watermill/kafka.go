package watermill

import (
	"context"
	"strings"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/pubsub"
	"millrace/stages/resource/kafka"
)

// openKafka makes the topic, if it is not there, and the producer.
func (c *Config) openKafka(ctx context.Context, s stage.Settings, codec pubsub.Codec) (stage.Writer, error) {
	cluster, err := stage.Use[*kafka.Cluster](s, c.Resource)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	if err := cluster.EnsureTopic(ctx, kafka.Topic{Name: c.Topic}); err != nil {
		return nil, err
	}
	w, err := pubsub.Kafka{Client: cluster.NewClient, Classify: kafka.Classify, Topic: c.Topic}.Writer(codec, keyOf(c.Key))
	if err != nil {
		return nil, err
	}
	return w, nil
}

// keyOf says what the record key of an event is; nil: there is none. The key
// is a copy.
func keyOf(name string) func(*event.Event) string {
	switch name {
	case "", "none":
		return nil
	case "key":
		return func(e *event.Event) string { return strings.Clone(e.Key) }
	case "id":
		return func(e *event.Event) string { return e.ID.String() }
	case "correlation_id":
		return func(e *event.Event) string { return strings.Clone(e.CorrelationID) }
	case "source":
		return func(e *event.Event) string { return strings.Clone(e.Source) }
	case "organisation":
		return func(e *event.Event) string { return strings.Clone(e.Organisation) }
	default:
		return func(e *event.Event) string {
			v, _ := e.Attribute(name)
			return strings.Clone(v.String())
		}
	}
}
