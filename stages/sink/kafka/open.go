package kafka

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/resource/kafka"
)

// maxRecord is the largest batch of records, and so the largest record:
// Kafka's own default for message.max.bytes.
const maxRecord = 1<<20 + 12

// Open makes the topic, registers the schema, and makes the producer.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Writer, error) {
	cluster, err := stage.Use[*kafka.Cluster](s, c.Resource)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	schema, err := c.loadSchema()
	if err != nil {
		return nil, stage.Fatal(err)
	}
	w := &writer{
		cluster: cluster, topic: c.kafkaTopic(), timeout: c.DeliveryTimeout.Std(), bound: int64(c.MaxBufferedBytes),
		key: keyOf(c.Key), headers: newHeaders(c.Headers), opts: c.producerOpts(),
	}
	if err := cluster.EnsureTopic(ctx, w.topic); err != nil {
		return nil, err
	}
	if schema != nil {
		id, err := cluster.Registry().Register(ctx, c.Topic+"-value", schema.text)
		if err != nil {
			return nil, err
		}
		w.codec, w.frame = schema.codec, avro.Frame(nil, id)
	}
	w.opts = append(w.opts, kgo.WithHooks(&w.dials))
	client, err := cluster.NewClient(w.opts...)
	if err != nil {
		return nil, err
	}
	w.client.Store(client)
	if w.metrics, err = newMetrics(s.Metrics, w); err != nil {
		client.Close()
		return nil, err
	}
	w.calls.New = func() any { return newCall() }
	return w, nil
}

func (c *Config) kafkaTopic() kafka.Topic {
	return kafka.Topic{
		Name: c.Topic, Partitions: c.Partitions, Replication: c.Replication,
		Retention: c.Retention.Std(), RetentionBytes: int64(c.RetentionBytes), Cleanup: c.CleanupPolicy,
	}
}

func (c *Config) producerOpts() []kgo.Opt {
	// A broker that is frozen accepts connections and never says a word. The
	// client looks at no context while it waits for the first word, so this
	// bounds how far beyond the delivery timeout a Write can be held.
	silence := min(max(c.DeliveryTimeout.Std()/2, time.Second), 10*time.Second)
	opts := []kgo.Opt{
		kgo.RequestTimeoutOverhead(silence),
		kgo.ProduceRequestTimeout(min(max(c.DeliveryTimeout.Std(), time.Second), 10*time.Second)),
		kgo.DefaultProduceTopic(c.Topic),
		kgo.ProducerLinger(c.Linger.Std()), // the client's own default is 10ms
		kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.MaxBufferedBytes(int(c.MaxBufferedBytes)),
		kgo.MaxBufferedRecords(1 << 30), // bytes are the bound
		kgo.ProducerBatchCompression(codecOf(c.Compression)),
		kgo.RecordPartitioner(partitionerOf(c.Partitioner)),
		kgo.RequiredAcks(acksOf(c.Acks)),
	}
	if c.idempotent() {
		// Without it, records in flight to a broker that went silent could not
		// be given up before it answers, and Write would not end.
		return append(opts, kgo.AllowIdempotentProduceCancellation())
	}
	return append(opts, kgo.DisableIdempotentWrite())
}

func codecOf(name string) kgo.CompressionCodec {
	switch name {
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	case "gzip":
		return kgo.GzipCompression()
	case "none":
		return kgo.NoCompression()
	default:
		return kgo.SnappyCompression()
	}
}

func acksOf(name string) kgo.Acks {
	switch name {
	case "leader":
		return kgo.LeaderAck()
	case "none":
		return kgo.NoAck()
	default:
		return kgo.AllISRAcks()
	}
}

// partitionerOf: hash is murmur2 as in Kafka's Java client, so that other
// producers of the topic put the same key into the same partition.
func partitionerOf(name string) kgo.Partitioner {
	switch name {
	case "round_robin":
		return kgo.RoundRobinPartitioner()
	case "sticky":
		return kgo.StickyPartitioner()
	default:
		return kgo.UniformBytesPartitioner(64<<10, false, true, nil)
	}
}

// dials remembers why the last connection could not be made: a timeout alone
// does not help whoever reads it.
type dials struct{ last atomic.Pointer[error] }

// OnBrokerConnect is called by the client after each attempt to connect.
func (d *dials) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		d.last.Store(nil)
		return
	}
	d.last.Store(&err)
}
