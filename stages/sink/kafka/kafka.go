// Package kafka writes events to a topic.
//
// A batch is encoded into one reused buffer and produced record by record;
// Write returns when Kafka has answered for each of them, or when the delivery
// timeout has passed and the client has let go of them. So a broker that is
// away shows as failed events within seconds, and nothing of a batch is in use
// after its Write.
//
// The topic is made and its schema registered when the sink opens; a schema
// that earlier readers could not follow stops the route before its first
// event.
//
// Delivery is at least once. Within an attempt the idempotent producer keeps
// the client's own retries from writing twice. An attempt that timed out may
// have been written all the same, and is then written again, with the same
// event id: readers that write by id do not notice.
package kafka

import (
	"embed"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/engine/stage"
	"millrace/stages/internal/avro"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name:  "kafka",
	Kind:  stage.KindSink,
	Files: files,
	New: func() any {
		return &Config{
			Key: "id", Partitioner: "hash", Compression: "snappy", Acks: "all", Idempotent: true,
			DeliveryTimeout: stage.Duration(5 * time.Second), MaxBufferedBytes: 64 << 20,
		}
	},
}

// Config is what a pipeline file says about a topic to write to.
type Config struct {
	// Topic is the topic to write to. It is made if it is not there.
	Topic string `yaml:"topic"`
	// Resource names the Kafka cluster, default the only one of the pipeline.
	Resource stage.Ref `yaml:"resource" resource:"kafka"`
	// Partitions is how many the topic has. A topic with fewer grows, one with
	// more stops the route. Default 0: what is there, or the broker's default.
	Partitions int `yaml:"partitions"`
	// Replication is on how many brokers each partition is kept, when the topic
	// is made. Default 0: the broker's default.
	Replication int `yaml:"replication"`
	// Retention is how long records are kept, when the topic is made. Default
	// 0: the broker's default, mostly 7d.
	Retention stage.Duration `yaml:"retention"`
	// RetentionBytes is how many bytes of each partition are kept, when the
	// topic is made. Default 0: the broker's default, mostly no bound.
	RetentionBytes stage.Size `yaml:"retention_bytes"`
	// CleanupPolicy is delete, compact (keep the last record of each key) or
	// compact,delete, when the topic is made. Default: the broker's, mostly
	// delete.
	CleanupPolicy string `yaml:"cleanup_policy"`

	// Key is what the record key is made of: id, correlation_id, source, host,
	// organisation, trace_id, span_id, level, the name of an attribute, or none.
	// Records with the same key keep their order. Default id.
	Key string `yaml:"key"`
	// Partitioner chooses the partition: hash (of the key, as Kafka's own
	// clients do; records without a key are spread), round_robin or sticky (one
	// partition for a while, then another). Default hash.
	Partitioner string `yaml:"partitioner"`
	// Value is how an event is written: json, or avro with the path of a
	// schema: {avro: schemas/log_event.avsc}. Default json.
	Value Value `yaml:"value"`
	// Headers are put on each record: event_id, traceparent (of events with
	// trace and span id). Default none, since the value has both.
	Headers []string `yaml:"headers"`
	// Compression is snappy, lz4, zstd, gzip or none. Default snappy.
	Compression string `yaml:"compression"`

	// Acks is who must have a record before it counts as delivered: all (the
	// replicas in sync), leader, or none. Default all.
	Acks string `yaml:"acks"`
	// Idempotent keeps the client's retries from writing a record twice; it
	// needs acks all. Default true.
	Idempotent bool `yaml:"idempotent"`
	// Linger is how long a record waits for others of its partition. Default 0:
	// events come in batches already.
	Linger stage.Duration `yaml:"linger"`
	// DeliveryTimeout is how long one attempt at a batch may take, default 5s.
	// After it the events count as failed; a breaker or retry sees that.
	DeliveryTimeout stage.Duration `yaml:"delivery_timeout"`
	// MaxBufferedBytes bounds the records that wait for Kafka's answer, default
	// 64MiB. Writers wait for room.
	MaxBufferedBytes stage.Size `yaml:"max_buffered_bytes"`
}

// Value says how an event is written. The zero Value is JSON.
type Value struct {
	// Avro is the path of the Avro schema to write with.
	Avro stage.Path `yaml:"avro"`
}

// UnmarshalText reads the short form.
func (v *Value) UnmarshalText(text []byte) error {
	if string(text) != "json" {
		return fmt.Errorf("want json or {avro: path of a schema}, got %q", text)
	}
	*v = Value{}
	return nil
}

// Validate checks the values, and that the schema can hold an event.
func (c *Config) Validate(p *stage.Problems) {
	if !isTopic(c.Topic) {
		p.Add("topic", "must be 1 to 249 letters, digits, '.', '_' or '-', got %q", c.Topic)
	}
	for key, n := range map[string]int64{"partitions": int64(c.Partitions), "replication": int64(c.Replication),
		"retention": int64(c.Retention), "retention_bytes": int64(c.RetentionBytes)} {
		if n < 0 || n > 1<<31-1 && !strings.HasPrefix(key, "retention") {
			p.Add(key, "must not be below 0 (0: the broker's default), got %d", n)
		}
	}
	if c.CleanupPolicy != "" {
		p.OneOf("cleanup_policy", c.CleanupPolicy, "delete", "compact", "compact,delete")
	}
	p.OneOf("partitioner", c.Partitioner, "hash", "round_robin", "sticky")
	p.OneOf("compression", c.Compression, "snappy", "lz4", "zstd", "gzip", "none")
	p.OneOf("acks", c.Acks, "all", "leader", "none")
	for i, h := range c.Headers {
		p.OneOf(fmt.Sprintf("headers.%d", i), h, headerEventID, headerTraceparent)
	}
	if c.Linger < 0 || c.Linger.Std() > time.Minute {
		p.Add("linger", "must be from 0 to 1m, got %v", c.Linger)
	}
	if c.DeliveryTimeout.Std() < 100*time.Millisecond || c.DeliveryTimeout <= c.Linger {
		p.Add("delivery_timeout", "must be at least 100ms and longer than linger, got %v", c.DeliveryTimeout)
	}
	if c.MaxBufferedBytes < 2<<20 {
		p.Add("max_buffered_bytes", "must be at least 2MiB, room for the largest record, got %v", c.MaxBufferedBytes)
	}
	if _, err := c.loadSchema(); err != nil {
		p.Add("value.avro", "%v", err)
	}
	c.validateKey(p)
	c.validateGuarantee(p)
}

func (c *Config) validateKey(p *stage.Problems) {
	if c.Key == "" {
		p.Add("key", "must be id, correlation_id, source, host, organisation, trace_id, span_id, level, the name of an attribute, or none, got %q", c.Key)
	}
	if slices.Contains([]string{"time", "timestamp"}, c.Key) {
		p.Warn("key", "a time as key puts events that belong together into different partitions and all events of a moment into one; use what they have in common, such as correlation_id, or none")
	}
	if !strings.Contains(c.CleanupPolicy, "compact") {
		return
	}
	switch c.Key {
	case "none":
		p.Add("key", "must be set when cleanup_policy is %s: Kafka refuses records without a key in such a topic", c.CleanupPolicy)
	case "id", "span_id":
		p.Warn("cleanup_policy", "compact keeps the last record of each key, and %s is different in each event: nothing would ever be removed", c.Key)
	default:
		p.Warn("cleanup_policy", "compact keeps only the last event of each %s: the others are gone, also for replay", c.Key)
	}
}

func (c *Config) validateGuarantee(p *stage.Problems) {
	if c.Acks == "all" {
		if !c.Idempotent {
			p.Warn("idempotent", "false lets the client's own retries write an event twice and out of order")
		}
		return
	}
	if c.Acks == "none" {
		p.Warn("acks", "none counts events as delivered that Kafka may never have received: they can be lost without a trace")
	} else {
		p.Warn("acks", "leader loses delivered events when the leader dies before its replicas have them")
	}
	if c.Idempotent {
		p.Warn("idempotent", "needs acks: all, and is off with acks: %s; set idempotent: false to say so", c.Acks)
	}
}

// loadSchema reads and compiles the schema; a nil codec: the value is JSON.
func (c *Config) loadSchema() (*schema, error) {
	if c.Value.Avro == "" {
		return nil, nil
	}
	text, err := os.ReadFile(string(c.Value.Avro))
	if err != nil {
		return nil, err
	}
	codec, err := avro.New(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Value.Avro, err)
	}
	return &schema{text: string(text), codec: codec}, nil
}

type schema struct {
	text  string
	codec *avro.Codec
}

func isTopic(s string) bool {
	bad := strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
	return len(s) >= 1 && len(s) <= 249 && s != "." && s != ".." && !bad
}

// Links names the topic.
func (c *Config) Links() []stage.Link {
	return []stage.Link{{Writes: true, What: fmt.Sprintf("kafka:%s:%s", c.Resource, c.Topic)}}
}

// Explain says what the sink promises.
func (c *Config) Explain() stage.Explanation {
	e := stage.Explanation{
		Crash: "events without Kafka's answer are not settled: the source sends them again, and a record that had been written is there twice with the same id",
		Away: fmt.Sprintf("each attempt fails after %v and the events wait for another; a topic that is deleted meanwhile is made again",
			c.DeliveryTimeout),
	}
	switch {
	case c.Acks == "none":
		e.Does = "counts an event as delivered when it is sent; Kafka may never have received it"
	case c.Acks == "leader":
		e.Does = "counts an event as delivered when the partition's leader has it; it is lost if the leader dies before its replicas have it"
	default:
		e.Does = "counts an event as delivered when all replicas in sync have it"
	}
	if c.idempotent() {
		e.Does += "; the client's own retries do not write it twice"
	}
	return e
}

func (c *Config) idempotent() bool { return c.Idempotent && c.Acks == "all" }
