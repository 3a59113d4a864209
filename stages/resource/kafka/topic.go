package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/stage"
)

// Topic is what a topic must look like.
type Topic struct {
	Name           string
	Partitions     int           // at least; 0: the broker's default, or what is there
	Replication    int           // 0: the broker's default
	Retention      time.Duration // 0: the broker's default; below: for ever
	RetentionBytes int64         // of each partition; 0: the broker's default; below: no bound
	Cleanup        string        // delete, compact or "compact,delete"; "": the broker's default
}

// adminTimeout bounds one round of provisioning.
const adminTimeout = 15 * time.Second

// EnsureTopic makes the topic if it is not there, and adds partitions if it
// has too few. More partitions than wanted is Fatal, since they cannot be
// taken away. Replication, retention and cleanup are set when the topic is
// made; later they belong to whoever administers the cluster.
func (c *Cluster) EnsureTopic(ctx context.Context, t Topic) error {
	client, err := c.adminClient()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	partitions, err := partitionsOf(ctx, client, t.Name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		err = c.createTopic(ctx, admin, t)
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			return topicError("make", t.Name, err)
		}
		partitions, err = appeared(ctx, client, t.Name) // another route or process was faster
	}
	switch {
	case err != nil:
		return topicError("look up", t.Name, err)
	case t.Partitions == 0 || partitions == t.Partitions:
		return nil
	case partitions > t.Partitions:
		return stage.Fatal(fmt.Errorf("kafka topic %s has %d partitions and cannot shrink to the %d that are configured; set partitions: %d, or make another topic",
			t.Name, partitions, t.Partitions, partitions))
	default:
		return topicError("add partitions to", t.Name, c.grow(ctx, admin, t, partitions))
	}
}

func topicError(what, topic string, err error) error {
	if err == nil {
		return nil
	}
	return Classify(fmt.Errorf("kafka: %s topic %s: %w", what, topic, err))
}

// appeared asks for a topic that somebody has just made until the brokers have
// heard of it, which takes them a moment.
func appeared(ctx context.Context, client *kgo.Client, topic string) (int, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		partitions, err := partitionsOf(ctx, client, topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || stage.SystemClock.Sleep(ctx, wait) != nil {
			return partitions, err
		}
	}
}

// partitionsOf asks the brokers, not the client's memory: what it remembers may
// be older than the topic.
func partitionsOf(ctx context.Context, client *kgo.Client, topic string) (int, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = append(request.Topics, kmsg.NewMetadataRequestTopic())
	request.Topics[0].Topic = &topic
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	if len(response.Topics) != 1 {
		return 0, kerr.UnknownTopicOrPartition
	}
	t := &response.Topics[0]
	return len(t.Partitions), kerr.ErrorForCode(t.ErrorCode)
}

func (c *Cluster) createTopic(ctx context.Context, admin *kadm.Client, t Topic) error {
	partitions, replication := int32(-1), int16(-1)
	if t.Partitions > 0 {
		partitions = int32(t.Partitions)
	}
	if t.Replication > 0 {
		replication = int16(t.Replication)
	}
	if c.broker != nil {
		replication = 1 // there is one broker, whatever the file says for the real cluster
		if t.Cleanup != "" && t.Cleanup != "delete" {
			c.log.Warn("the embedded broker does not compact: it removes the oldest records of the topic when it is full", "topic", t.Name)
		}
	}
	created, err := admin.CreateTopic(ctx, partitions, replication, t.configs(), t.Name)
	if err == nil {
		err = created.Err
	}
	if err != nil && created.ErrMessage != "" {
		err = fmt.Errorf("%w (%s)", err, created.ErrMessage)
	}
	if err == nil {
		c.log.Info("made kafka topic", "topic", t.Name, "partitions", created.NumPartitions)
	}
	return err
}

func (t Topic) configs() map[string]*string {
	configs := map[string]*string{}
	set := func(key, value string) { configs[key] = &value }
	switch {
	case t.Retention > 0:
		set("retention.ms", strconv.FormatInt(t.Retention.Milliseconds(), 10))
	case t.Retention < 0:
		set("retention.ms", "-1")
	}
	switch {
	case t.RetentionBytes > 0:
		set("retention.bytes", strconv.FormatInt(t.RetentionBytes, 10))
	case t.RetentionBytes < 0:
		set("retention.bytes", "-1")
	}
	if t.Cleanup != "" {
		set("cleanup.policy", t.Cleanup)
	}
	return configs
}

func (c *Cluster) grow(ctx context.Context, admin *kadm.Client, t Topic, from int) error {
	responses, err := admin.UpdatePartitions(ctx, t.Partitions, t.Name)
	if err == nil {
		err = responses.Error()
	}
	if err == nil {
		c.log.Info("added partitions to kafka topic; keys map to other partitions from now on", "topic", t.Name, "from", from, "to", t.Partitions)
	}
	return err
}
