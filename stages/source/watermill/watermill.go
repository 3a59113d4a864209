// Package watermill reads what services that use Watermill publish.
//
// Each message becomes an event. It is acked when that event is settled, and
// nacked only when it is given back: nothing is lost and nothing is marked as
// read before it is dealt with. The messages of a partition or topic keep their
// order.
//
// A pipeline file names a Pub/Sub: kafka speaks the format of watermill-kafka
// (the UUID and the metadata in headers, the payload as the value) over this
// program's own Kafka client; gochannel is inside this process. A program with
// a main of its own makes a source of any Pub/Sub there is, with Source.
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
var Stage = stage.Stage{Name: "watermill", Kind: stage.KindSource, Files: files, New: func() any { return newConfig(nil) }}

// Source makes a catalogue entry of a subscriber, for programs with a main of
// their own:
//
//	cli.Main(append(stages.All(), watermill.Source("orders_bus", subscriber))...)
//
// A pipeline file then says `source: {orders_bus: {topic: orders}}`. The
// subscriber is not closed with the route: it stays its maker's. Where it ends
// the context of a message once it has taken note of the ack, as Watermill's
// own do, no ack is lost at a stop.
func Source(name string, sub message.Subscriber) stage.Stage {
	return stage.Stage{Name: name, Kind: stage.KindSource, Files: files, New: func() any { return newConfig(&own{name, sub}) }}
}

func newConfig(o *own) *Config {
	c := &Config{Codec: string(pubsub.JSON), own: o}
	if o == nil {
		c.Start = startEarliest
	}
	return c
}

// own is a user's subscriber.
type own struct {
	name string
	sub  message.Subscriber
}

const (
	onKafka       = "kafka"
	onChannel     = "gochannel"
	startEarliest = "earliest"
	startLatest   = "latest"
)

// Config is what a pipeline file says about messages to read.
type Config struct {
	// PubSub is where the messages are: kafka, as watermill-kafka writes them, or gochannel, inside
	// this process (`sink: {watermill: {pubsub: gochannel}}` of another route publishes there).
	PubSub string `yaml:"pubsub"`
	// Topic to read.
	Topic string `yaml:"topic"`
	// Codec makes an event of a payload: json (default; the event as JSON, metadata becomes
	// attributes) or raw (the payload is the event's message, for any payload there is).
	Codec string `yaml:"codec"`
	// Group is the consumer group, for kafka. Processes with the same group share the partitions,
	// also with services that use watermill-kafka.
	Group string `yaml:"group"`
	// Start says where a group begins that has read nothing yet, for kafka: earliest (default) or
	// latest.
	Start string `yaml:"start"`
	// Resource is the Kafka cluster; may be left out when the pipeline has one.
	Resource stage.Ref `yaml:"resource" resource:"kafka,optional"`

	own *own
}

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	if c.Topic == "" {
		p.Add("topic", "must name the topic to read")
	}
	p.OneOf("codec", c.Codec, string(pubsub.JSON), string(pubsub.Raw))
	if c.own != nil {
		c.only(p, c.own.name+" has its own", map[string]string{"pubsub": c.PubSub, "group": c.Group, "start": c.Start})
		return
	}
	p.OneOf("pubsub", c.PubSub, onKafka, onChannel)
	switch c.PubSub {
	case onKafka:
		c.validateKafka(p)
	case onChannel:
		c.only(p, "a gochannel has none", map[string]string{"group": c.Group})
	}
}

func (c *Config) validateKafka(p *stage.Problems) {
	if c.Group == "" {
		p.Add("group", "must name the consumer group, got nothing")
	}
	if c.Resource == "" {
		p.Add("resource", "must name the Kafka cluster: the pipeline has none, or several; add `resources: {kafka: {}}`")
	}
	p.OneOf("start", c.Start, startEarliest, startLatest)
}

// only reports keys that make no sense here.
func (c *Config) only(p *stage.Problems, why string, keys map[string]string) {
	for _, key := range []string{"pubsub", "group", "start"} {
		if keys[key] != "" {
			p.Add(key, "must be left out: %s", why)
		}
	}
}

// Links says what is read, by a name that the sink uses too.
func (c *Config) Links() []stage.Link {
	switch {
	case c.own != nil:
		return []stage.Link{{What: fmt.Sprintf("watermill:%s:%s", c.own.name, c.Topic)}}
	case c.PubSub == onChannel:
		return []stage.Link{{What: "gochannel:" + c.Topic}}
	default:
		return []stage.Link{{What: fmt.Sprintf("kafka:%s:%s", c.Resource, c.Topic)}}
	}
}

// Place says that messages stay with their Pub/Sub until they are settled.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	e := stage.Explanation{
		Does: fmt.Sprintf("reads topic %s; a message is acked when its own event is settled, and nacked only when it is given back", c.Topic),
	}
	switch {
	case c.own != nil:
		e.Crash = "messages that were not acked come again, if the Pub/Sub keeps them"
		e.Away = "waits for the Pub/Sub"
	case c.PubSub == onChannel:
		e.Crash = "messages that were not acked are gone, but who published them waits for the acks: they are not settled there"
	default:
		e.Crash = "events that were settled after the last commit (about a second) are read again, with the same ids"
		e.Away = "waits; while the brokers are away nothing new is read and nothing is lost"
	}
	return e
}

// Open subscribes.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	codec := pubsub.Codec(c.Codec)
	switch {
	case c.own != nil:
		return pubsub.Subscribe(ctx, c.own.name, c.own.sub, c.Topic, codec)
	case c.PubSub == onChannel:
		channel := pubsub.OpenChannel(s.StateDir, pubsub.Logger(s.Log))
		r, err := channel.Reader(ctx, c.Topic, codec)
		if err != nil {
			_ = channel.Close() // nothing was read
			return nil, err
		}
		return r, nil
	default:
		return c.openKafka(s, codec)
	}
}
