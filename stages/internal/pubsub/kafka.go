package pubsub

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"hash/fnv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
)

// place is where in Kafka a message came from.
type place struct{ record *kgo.Record }

type placeKey struct{}

func placeOf(ctx context.Context) (place, bool) {
	r, ok := ctx.Value(placeKey{}).(*kgo.Record)
	return place{r}, ok
}

// complete sets what a record says of its event beside the message.
func (p place) complete(e *event.Event) {
	r := p.record
	e.Offset, e.Key, e.Due = r.Offset, string(r.Key), r.Timestamp.UnixNano()
	if e.Time.IsZero() {
		e.Time = r.Timestamp
	}
	if e.ID == uuid.Nil { // the same at each reading
		sum := sha1.Sum(binary.BigEndian.AppendUint32([]byte(r.Topic), uint32(r.Partition)))
		copy(e.ID[:8], sum[:])
		binary.BigEndian.PutUint64(e.ID[8:], uint64(r.Offset)&(1<<62-1)|1<<63)
		e.ID[6] = e.ID[6]&0x0f | 0x80 // version 8: our own making
	}
}

// unmarshal makes a message of a record, as watermill-kafka's
// DefaultMarshaler does.
func unmarshal(ctx context.Context, r *kgo.Record) *message.Message {
	msg := message.NewMessage("", r.Value)
	for _, h := range r.Headers {
		if h.Key == UUIDHeader {
			msg.UUID = string(h.Value)
			continue
		}
		msg.Metadata.Set(h.Key, string(h.Value))
	}
	msg.SetContext(context.WithValue(ctx, placeKey{}, r))
	return msg
}

// marshal is the other way round.
func marshal(topic string, msg *message.Message) *kgo.Record {
	r := &kgo.Record{Topic: topic, Value: msg.Payload, Headers: make([]kgo.RecordHeader, 0, len(msg.Metadata)+1)}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: UUIDHeader, Value: []byte(msg.UUID)})
	for key, value := range msg.Metadata {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	if key, ok := msg.Context().Value(keyKey{}).(string); ok && key != "" {
		r.Key = []byte(key)
	}
	return r
}

type keyKey struct{}

func setKey(msg *message.Message, key string) {
	if key != "" {
		msg.SetContext(context.WithValue(msg.Context(), keyKey{}, key))
	}
}

// partitioner puts a key where sarama, and so watermill-kafka, puts it.
func partitioner() kgo.Partitioner {
	return kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(func(key []byte) uint32 {
		h := fnv.New32a()
		_, _ = h.Write(key) // to memory
		return h.Sum32()
	}))
}
