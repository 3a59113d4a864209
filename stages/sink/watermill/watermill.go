// Package watermill publishes events for services that use Watermill.
//
// Each event becomes a message. What a publisher says of one message is about
// that event only: a bad one is refused, the others are published; one that
// cannot be published now keeps those behind it back, so that the order holds.
//
// A pipeline file names a Pub/Sub: kafka writes the format of watermill-kafka
// (the UUID and the metadata in headers, the payload as the value) with this
// program's own Kafka client; gochannel is inside this process. A program with
// a main of its own makes a sink of any Pub/Sub there is, with Sink.
package watermill

import (
	"context"
	"embed"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/stage"
	"millrace/stages/internal/pubsub"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "watermill", Kind: stage.KindSink, Files: files, New: func() any { return newConfig(nil) }}

// Sink makes a catalogue entry of a publisher, for programs with a main of
// their own:
//
//	cli.Main(append(stages.All(), watermill.Sink("orders_bus", publisher))...)
//
// A pipeline file then says `sink: {orders_bus: {topic: orders}}`. Events are
// published one message at a time, from several goroutines where batches are
// written side by side. The publisher is not closed with the route: it stays
// its maker's.
func Sink(name string, pub message.Publisher) stage.Stage {
	return stage.Stage{Name: name, Kind: stage.KindSink, Files: files, New: func() any { return newConfig(&own{name, pub}) }}
}

func newConfig(o *own) *Config { return &Config{Codec: string(pubsub.JSON), own: o} }

// own is a user's publisher.
type own struct {
	name string
	pub  message.Publisher
}

const (
	onKafka   = "kafka"
	onChannel = "gochannel"
)

// Config is what a pipeline file says about messages to publish.
type Config struct {
	// PubSub is where the messages go: kafka, as watermill-kafka reads them, or gochannel, inside
	// this process. A gochannel publishes one message at a time and waits until its readers have
	// dealt with it; between two routes `sink: {route: name}` is much faster.
	PubSub string `yaml:"pubsub"`
	// Topic to publish to. In Kafka it is made if it is not there.
	Topic string `yaml:"topic"`
	// Codec makes a payload of an event: json (default; the event as JSON) or raw (the event's
	// message, its attributes as metadata: what the source read with raw comes out the same).
	Codec string `yaml:"codec"`
	// Key is the key of the records, for kafka: none, key (the one the event came with), id,
	// correlation_id, source, organisation or the name of an attribute. Records with the same key
	// go where watermill-kafka puts them, and keep their order. Default none.
	Key string `yaml:"key"`
	// Resource is the Kafka cluster; may be left out when the pipeline has one.
	Resource stage.Ref `yaml:"resource" resource:"kafka,optional"`

	own *own
}

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	if c.Topic == "" {
		p.Add("topic", "must name the topic to publish to")
	}
	p.OneOf("codec", c.Codec, string(pubsub.JSON), string(pubsub.Raw))
	switch {
	case c.own != nil:
		c.leftOut(p, "pubsub", c.PubSub, c.own.name+" has its own")
		c.leftOut(p, "key", c.Key, "only kafka has keys")
		return
	case c.PubSub == onChannel:
		c.leftOut(p, "key", c.Key, "only kafka has keys")
	case c.PubSub == onKafka && c.Resource == "":
		p.Add("resource", "must name the Kafka cluster: the pipeline has none, or several; add `resources: {kafka: {}}`")
	}
	p.OneOf("pubsub", c.PubSub, onKafka, onChannel)
}

func (c *Config) leftOut(p *stage.Problems, key, value, why string) {
	if value != "" {
		p.Add(key, "must be left out: %s", why)
	}
}

// Links says what is written, by a name that the source uses too.
func (c *Config) Links() []stage.Link {
	switch {
	case c.own != nil:
		return []stage.Link{{Writes: true, What: fmt.Sprintf("watermill:%s:%s", c.own.name, c.Topic)}}
	case c.PubSub == onChannel:
		return []stage.Link{{Writes: true, What: "gochannel:" + c.Topic}}
	default:
		return []stage.Link{{Writes: true, What: fmt.Sprintf("kafka:%s:%s", c.Resource, c.Topic)}}
	}
}

// Explain says what the sink promises.
func (c *Config) Explain() stage.Explanation {
	crash := "events whose messages were not acknowledged are not settled: the source brings them again, and a message may be " +
		"there twice with the same UUID"
	switch {
	case c.own != nil:
		return stage.Explanation{Does: "counts an event as delivered when the publisher took its message", Crash: crash}
	case c.PubSub == onChannel:
		return stage.Explanation{
			Does:  "counts an event as delivered when every reader in this process has acked its message",
			Crash: crash,
			Away:  "while nobody reads the topic, events wait",
		}
	default:
		return stage.Explanation{
			Does:  "counts an event as delivered when all replicas in sync have its message; the client's own retries do not write it twice",
			Crash: crash,
			Away:  fmt.Sprintf("each attempt fails after %v and the events wait for another", pubsub.DeliveryTimeout),
		}
	}
}

// Open gets ready to publish.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Writer, error) {
	codec := pubsub.Codec(c.Codec)
	switch {
	case c.own != nil:
		nothing := func(context.Context) error { return nil }
		return pubsub.NewWriter(codec, pubsub.OneByOne(c.own.pub, c.Topic), nothing), nil
	case c.PubSub == onChannel:
		channel := pubsub.OpenChannel(s.StateDir, pubsub.Logger(s.Log))
		return pubsub.NewWriter(codec, channel.Publish(c.Topic), func(context.Context) error { return channel.Close() }), nil
	default:
		return c.openKafka(ctx, s, codec)
	}
}
