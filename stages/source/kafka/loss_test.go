package kafka

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
)

func TestAStuckPartitionIsPausedWhileTheOthersFlow(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	big := make([]byte, 4000)
	for i := range big {
		big[i] = 'x'
	}
	const stuckEvents = 8000 // 32 MB: more than may be out and queued
	var held []event.Parcel
	r := l.open(t)
	defer shut(t, r)
	fill := messages(0, 0, stuckEvents)
	for _, rec := range fill {
		rec.Value = fmt.Appendf(nil, `{"message":"p0","source":"%s"}`, big)
	}
	produce(t, client, fill...)
	produce(t, client, messages(1, 0, 3000)...)
	flowed := 0
	for round := 0; flowed < 3000+100*10; round++ {
		p, _ := read(t, r)
		if p.Origin.Partition == 0 {
			held = append(held, p)
			continue
		}
		flowed += len(p.Events)
		delivered(p)
		if flowed >= 3000 && flowed < 3000+100*10 {
			produce(t, client, messages(1, flowed, flowed+100)...)
		}
	}
	r.mu.Lock()
	p := r.parts[0]
	out, queued, high := p.outBytes, p.queuedBytes, p.high
	r.mu.Unlock()
	if limit := bound(2); out > limit+parcelBytes || queued > limit+16<<20 {
		t.Errorf("%d bytes are out and %d queued, want at most about %d each", out, queued, limit)
	}
	if out+queued >= stuckEvents*4000 {
		t.Errorf("all of the stuck partition was taken into memory")
	}
	if high == 0 {
		t.Error("no high watermark")
	}
	got := 0
	for _, p := range held {
		got += len(p.Events)
		delivered(p)
	}
	for got < stuckEvents {
		p, _ := read(t, r)
		got += len(p.Events)
		delivered(p)
	}
}

func TestWhatRetentionDeletedUnreadIsCountedAsLost(t *testing.T) {
	l := cluster(t, 1)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 10)...)
	r := l.open(t)
	readAll(t, r, 10)
	shut(t, r)
	produce(t, client, messages(0, 10, 30)...)
	l.deleteUntil(t, 25)
	r = l.open(t)
	defer shut(t, r)
	if got := readAll(t, r, 5); got[0] != "p0-25" {
		t.Errorf("began with %s", got[0])
	}
	if lost := r.Status()["lost"]; lost != int64(15) {
		t.Errorf("lost %v, want 15", lost)
	}
	if n, err := testutil.GatherAndCount(l.metrics, "kafka_consumer_lost_records_total"); n != 1 || err != nil {
		t.Errorf("%d lost metrics, %v", n, err)
	}
}

func TestWhatRetentionDeletesUnderARunningReaderIsCountedAsLost(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 10)...)
	r := l.open(t)
	defer shut(t, r)
	readAll(t, r, 10)
	fetches := c.Fault(kfake.Fault{Keys: fetchKey, Count: -1, Err: notNow})
	until(t, "fetches fail", func() bool { return fetches.Hits() > 0 })
	produce(t, client, messages(0, 10, 30)...)
	if err := c.DeleteRecords("logs", 0, 25); err != nil {
		t.Fatal(err)
	}
	fetches.Remove()
	if got := readAll(t, r, 5); got[0] != "p0-25" {
		t.Errorf("went on with %s", got[0])
	}
	if lost := r.Status()["lost"]; lost != int64(15) {
		t.Errorf("lost %v, want 15", lost)
	}
}

func TestAGapBelowTheLogsStartIsLostAndOthersAreNormal(t *testing.T) {
	for _, c := range []struct{ expect, first, logStart, want int64 }{
		{10, 10, 0, 0}, {10, 15, 0, 0}, {10, 15, 10, 0}, {10, 15, 12, 2}, {10, 15, 15, 5}, {10, 15, 40, 5}, {10, 15, -1, 0},
	} {
		if got := gap(c.expect, c.first, c.logStart); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestLagIsWhatIsNotSettled(t *testing.T) {
	l := cluster(t, 2)
	client := producer(t, l)
	produce(t, client, append(messages(0, 0, 10), messages(1, 0, 5)...)...)
	r := l.open(t)
	defer shut(t, r)
	a, _ := read(t, r)
	b, _ := read(t, r)
	if lag := r.Status()["lag"]; lag != int64(15) {
		t.Errorf("lag %v with all under way, want 15", lag)
	}
	delivered(a)
	if lag := r.Status()["lag"]; lag != int64(15-len(a.Events)) {
		t.Errorf("lag %v, want %d", lag, 15-len(a.Events))
	}
	if n, err := testutil.GatherAndCount(l.metrics, "kafka_consumer_lag"); n != 2 || err != nil {
		t.Errorf("%d lag metrics, %v", n, err)
	}
	delivered(b)
}

// After an unclean election the log may be shorter, and offsets come again.
func TestALogThatWasCutIsReadAgain(t *testing.T) {
	c := broker(t, 1)
	r := at(c).open(t)
	defer shut(t, r)
	until(t, "the partition is placed", func() bool { return r.position(0) == 0 })
	fetched := func(from, to int) kgo.Fetches {
		var records []*kgo.Record
		for i := from; i < to; i++ {
			records = append(records, &kgo.Record{Topic: "logs", Offset: int64(i), Value: fmt.Appendf(nil, `{"message":"%d"}`, i)})
		}
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "logs", Partitions: []kgo.FetchPartition{{HighWatermark: int64(to), Records: records}}}}}}
	}
	r.ingest(fetched(0, 10))
	before, _ := read(t, r)
	r.ingest(fetched(4, 8))
	after, _ := read(t, r)
	if after.Events[0].Offset != 4 {
		t.Fatalf("went on at offset %d", after.Events[0].Offset)
	}
	delivered(before)
	if parts, _ := r.uncommitted(); len(parts) != 1 || r.position(0) != 8 {
		t.Errorf("%d partitions to commit, position %d", len(parts), r.position(0))
	}
	if _, offsets := r.uncommitted(); offsets[0].Offset != 4 {
		t.Errorf("would commit %d, want 4: what came before is of the old log", offsets[0].Offset)
	}
	delivered(after)
	if _, offsets := r.uncommitted(); offsets[0].Offset != 8 {
		t.Errorf("would commit %d, want 8", offsets[0].Offset)
	}
}
