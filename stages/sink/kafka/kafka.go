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
			Key: "id", Compression: "snappy", Acks: "all", Idempotent: true, BatchBytes: maxBatch,
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
	// Records with the same key keep the order of their file, partition or
	// connection as long as no attempt at them fails: what failed is sent again
	// after what Kafka took. After a bad event the rest waits until those that
	// were refused with it are sent again; only what was on its way to Kafka
	// before the refusal was heard can be ahead of them. Default id.
	Key string `yaml:"key"`
	// Partition is how the partition is chosen: key (by the hash of the key, as Kafka's
	// own clients do; records without a key are spread), severity, round_robin,
	// sticky (one partition for a while, then another), {severity: {reserve:
	// true}} or {expression: …}. Default key.
	Partition Partition `yaml:"partition"`
	// Value is how an event is written: json, raw (its bytes as received, or
	// else its message; headers: [event_id] keeps its id), or avro with the path
	// of a schema: {avro: schemas/log_event.avsc}. Default json.
	Value Value `yaml:"value"`
	// Headers are put on each record: event_id, traceparent (of events with
	// trace and span id). Default none, since the value has both.
	Headers []string `yaml:"headers"`
	// Compression is snappy, lz4, zstd, gzip or none. Default snappy.
	Compression string `yaml:"compression"`

	// Delivery is how sure the sink makes of its events: async (the default: an
	// event counts when Kafka has answered for it; batches go on meanwhile),
	// fire_and_forget (nobody waits: at most once), or by level
	// {levels: {INFO: fire_and_forget, ERROR: {acknowledged: 5s}}}.
	Delivery Delivery `yaml:"delivery"`
	// Acks is who must have a record before it counts as delivered: all (the
	// replicas in sync), leader, or none. Default all.
	Acks string `yaml:"acks"`
	// Idempotent keeps the client's retries from writing a record twice; it
	// needs acks all. Default true.
	Idempotent bool `yaml:"idempotent"`
	// Linger is how long a record waits for others of its partition. Default 0:
	// events come in batches already.
	Linger stage.Duration `yaml:"linger"`
	// BatchBytes is the most that is sent of a partition at once, default 1MiB, the
	// most that brokers take by default. An event that is larger is bad.
	BatchBytes stage.Size `yaml:"batch_bytes"`
	// DeliveryTimeout is how long one attempt at a batch may take, default 5s.
	// After it the events count as failed; a breaker or retry sees that.
	DeliveryTimeout stage.Duration `yaml:"delivery_timeout"`
	// MaxBufferedBytes bounds the records that wait for Kafka's answer, default
	// 64MiB, in equal parts for the modes of delivery. Writers wait for room.
	MaxBufferedBytes stage.Size `yaml:"max_buffered_bytes"`
}

// Value says how an event is written. The zero Value is JSON.
type Value struct {
	// Avro is the path of the Avro schema to write with.
	Avro stage.Path `yaml:"avro"`

	raw bool // the bytes as received
}

// UnmarshalText reads the short form.
func (v *Value) UnmarshalText(text []byte) error {
	switch string(text) {
	case "json":
		*v = Value{}
	case "raw":
		*v = Value{raw: true}
	default:
		return fmt.Errorf("want json, raw or {avro: path of a schema}, got %q", text)
	}
	return nil
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
	c.explainDelivery(&e)
	if rule := c.Partition.String(); rule != "" {
		e.Does += "; " + rule
	}
	e.Does += fmt.Sprintf("; %v, records that wait for Kafka up to %v", c.memory(), c.MaxBufferedBytes)
	return e
}

func (c *Config) idempotent() bool { return c.Idempotent && c.Acks == "all" }
