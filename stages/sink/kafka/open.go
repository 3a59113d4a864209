package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/internal/avro"
	"millrace/stages/resource/kafka"
)

// maxBatch is the largest batch of records, and so the largest record: Kafka's
// own default for message.max.bytes, rounded.
const maxBatch = 1 << 20

// recordOverhead is about what a batch and a record take beside key and value.
const recordOverhead = 512

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
	w := c.newWriter(cluster, s)
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
	if err := w.openProducers(c, s); err != nil {
		return nil, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

func (c *Config) newWriter(cluster *kafka.Cluster, s stage.Settings) *writer {
	return &writer{
		raw: c.Value.raw, cluster: cluster, topic: c.kafkaTopic(), bound: int64(c.MaxBufferedBytes), key: keyOf(c.Key), headers: newHeaders(c.Headers),
		rule: c.Partition.rule(), largest: int(c.BatchBytes) - recordOverhead, noAcks: c.Acks == "none", memory: c.memory(),
		clock: s.Clock, nag: nag{log: s.Log, clock: s.Clock}, fill: fill{clock: s.Clock},
	}
}

// openProducers makes one for each mode of delivery; they share the buffer.
func (w *writer) openProducers(c *Config, s stage.Settings) error {
	modes := c.Delivery.modes()
	w.byLevel = c.Delivery.byLevel(modes)
	for _, mode := range modes {
		p, err := w.newProducer(c, mode, int(c.MaxBufferedBytes)/len(modes), s)
		if err != nil {
			return err
		}
		w.producers = append(w.producers, p)
	}
	return s.Metrics.Register(newGauges(w))
}

func (c *Config) memory() memory {
	return memory{batchBytes: int64(c.BatchBytes), producers: int64(len(c.Delivery.modes())), configured: c.Partitions}
}

func (c *Config) kafkaTopic() kafka.Topic {
	return kafka.Topic{
		Name: c.Topic, Partitions: c.Partitions, Replication: c.Replication,
		Retention: c.Retention.Std(), RetentionBytes: int64(c.RetentionBytes), Cleanup: c.CleanupPolicy,
	}
}

func (c *Config) producerOpts(mode Mode, timeout time.Duration, share int) []kgo.Opt {
	// A broker that is frozen accepts connections and never says a word. The
	// client looks at no context while it waits for the first word, so this
	// bounds how far beyond the delivery timeout a Write can be held.
	silence := min(max(timeout/2, time.Second), 10*time.Second)
	opts := []kgo.Opt{
		kgo.RequestTimeoutOverhead(silence),
		kgo.ProduceRequestTimeout(min(max(timeout, time.Second), 10*time.Second)),
		kgo.DefaultProduceTopic(c.Topic),
		kgo.ProducerBatchMaxBytes(int32(c.BatchBytes)),
		kgo.MaxBufferedBytes(share),
		kgo.MaxBufferedRecords(1 << 30), // bytes are the bound
		kgo.ProducerBatchCompression(codecOf(c.Compression)),
		kgo.RecordPartitioner(c.Partition.partitioner()),
	}
	if mode.Acknowledged > 0 {
		opts = append(opts, kgo.ProducerLinger(0))
	} else {
		opts = append(opts, kgo.ProducerLinger(c.Linger.Std())) // the client's own default is 10ms
	}
	switch {
	case mode.forgets:
		return append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case c.idempotent():
		// Without it, records in flight to a broker that went silent could not
		// be given up before it answers, and Write would not end.
		return append(opts, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.AllowIdempotentProduceCancellation())
	default:
		return append(opts, kgo.RequiredAcks(acksOf(c.Acks)), kgo.DisableIdempotentWrite())
	}
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

// dials remembers why the last connection could not be made: a timeout alone
// does not help whoever reads it.
type dials struct{ last atomic.Pointer[error] }

// OnBrokerConnect is called by the client after each attempt to connect.
func (d *dials) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		d.last.Store(nil)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // the client gave up waiting for it, which is no reason; nor was the route told to stop
	}
	d.last.Store(&err)
}
