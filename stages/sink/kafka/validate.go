package kafka

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/engine/stage"
)

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
	if c.BatchBytes < 16<<10 || c.BatchBytes > 64<<20 {
		p.Add("batch_bytes", "must be from 16KiB to 64MiB, got %v", c.BatchBytes)
	}
	if least := 2 * c.BatchBytes * stage.Size(len(c.Delivery.modes())); c.MaxBufferedBytes < max(least, 2<<20) {
		p.Add("max_buffered_bytes", "must be at least %v, room for two batches of each mode of delivery, got %v", max(least, 2<<20), c.MaxBufferedBytes)
	}
	if _, err := c.loadSchema(); err != nil {
		p.Add("value.avro", "%v", err)
	}
	c.validateKey(p)
	c.validatePartition(p)
	c.validateDelivery(p)
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
