package kafka

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// blocked fills the topic with more than may be held, reads and settles
// nothing, as behind an open breaker, and waits until enough says so. Then it
// reads on: the member must be the one that it was, and hold no more than the
// bounds.
func blocked(t *testing.T, l *lab, enough func() bool) {
	t.Helper()
	const records, each = 200, 200 << 10 // 40 MB, of which 8 may be out and 8 queued
	client := producer(t, l, kgo.ProducerBatchCompression(kgo.NoCompression()))
	filler := strings.Repeat("x", each)
	for i := range records {
		produce(t, client, &kgo.Record{Value: fmt.Appendf(nil, `{"message":"%d %s"}`, i, filler)})
	}
	r := l.open(t)
	defer shut(t, r)
	p, _ := read(t, r)
	member, generation := r.client.GroupMetadata()
	most := 0
	untilWithin(t, 10*patient, "the block lasted", func() bool {
		most = max(most, held(r))
		return enough()
	})
	if limit := 2*outBytes + fetchMaxBytes; most > limit {
		t.Errorf("%d bytes were held, more than %d", most, limit)
	}
	if m, g := r.client.GroupMetadata(); m != member || g != generation {
		t.Errorf("the member is %s in generation %d, and was %s in %d", m, g, member, generation)
	}
	delivered(p)
	readAll(t, r, records-len(p.Events))
	if r.Status()["lost"] != int64(0) {
		t.Errorf("status %v", r.Status())
	}
}

// held is what the source has in memory: queued, and in the client's buffer.
func held(r *reader) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes := int(r.client.BufferedFetchBytes())
	for _, p := range r.order {
		bytes += p.queuedBytes + p.outBytes
	}
	return bytes
}

func TestWhileNothingIsSettledTheMemberStaysAndMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000000"}))
	var heartbeats atomic.Int64
	c.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		heartbeats.Add(1)
		return nil, nil, false
	})
	// as long as the broker hears of the member it keeps it
	blocked(t, at(c), func() bool { return heartbeats.Load() >= 2 })
}
