package watermill

import (
	"millrace/engine/stage"
	"millrace/stages/internal/pubsub"
	"millrace/stages/resource/kafka"
)

// openKafka joins the group in the background and returns at once.
func (c *Config) openKafka(s stage.Settings, codec pubsub.Codec) (stage.Reader, error) {
	cluster, err := stage.Use[*kafka.Cluster](s, c.Resource)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	topic := pubsub.Kafka{Client: cluster.NewClient, Classify: kafka.Classify, Topic: c.Topic}
	r, err := topic.Reader(c.Group, c.Start == startLatest, codec, s.Log)
	if err != nil {
		return nil, err
	}
	return r, nil
}
