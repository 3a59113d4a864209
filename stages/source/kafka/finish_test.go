package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFinishReadsToWhatIsTheEndThenAndNoFurther(t *testing.T) {
	l := cluster(t, 3) // partition 2 stays empty
	client := producer(t, l)
	produce(t, client, append(messages(0, 0, 1200), messages(1, 0, 7)...)...)
	r := l.open(t)
	defer shut(t, r)
	if err := r.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := rest(t, r)
	if len(got) != 1207 {
		t.Errorf("got %d events, want 1207", len(got))
	}
	produce(t, client, messages(0, 1200, 1300)...)
	if p, ok := read(t, r); ok {
		t.Errorf("%d events after the end", len(p.Events))
	}
}

func TestFinishOfAnEmptyOrAbsentTopicIsTheEndAtOnce(t *testing.T) {
	c := broker(t, 2)
	for _, topic := range []string{"logs", "absent"} {
		r := at(c).open(t, func(cfg *Config) { cfg.Topic = topic })
		if got := drain(t, r); len(got) != 0 {
			t.Errorf("%s: got %v", topic, got)
		}
		shut(t, r)
	}
}

func TestFinishOfAMemberThatHasNoPartition(t *testing.T) {
	l := cluster(t, 1)
	produce(t, producer(t, l), messages(0, 0, 5)...)
	holder := l.open(t)
	defer shut(t, holder)
	held, _ := read(t, holder)
	other := l.open(t)
	if got := drain(t, other); len(got) != 0 {
		t.Errorf("the member without a partition read %v", got)
	}
	shut(t, other)
	delivered(held)
}

func TestFinishCountsTransactionMarkersAndSkipsAbortedRecords(t *testing.T) {
	l := cluster(t, 1)
	client := producer(t, l, kgo.TransactionalID("t"))
	for round, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, client, messages(0, 10*round, 10*round+3)...)
		if err := client.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	r := l.open(t)
	if got := drain(t, r); strings.Join(got, " ") != "p0-0 p0-1 p0-2" {
		t.Errorf("got %v", got)
	}
	if lag := r.Status()["lag"]; lag != int64(0) {
		t.Errorf("lag %v at the end", lag)
	}
	shut(t, r)
	if got := l.committed(t)[0]; got != 8 { // 3 events, marker, 3 events, marker
		t.Errorf("committed %d, want 8", got)
	}
}

// What was deleted under a waiting reader leaves nothing to be fetched.
func TestFinishWhenTheRestIsDeletedByRetention(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 3)...)
	r := l.open(t)
	readAll(t, r, 3)
	shut(t, r)
	produce(t, client, messages(0, 3, 9)...)
	fetches := c.Fault(kfake.Fault{Keys: fetchKey, Count: -1, Err: notNow}) // nothing arrives before it is deleted
	r = l.open(t)
	defer shut(t, r)
	until(t, "the partition is placed", func() bool { return r.position(0) == 3 })
	if err := r.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteRecords("logs", 0, 9); err != nil {
		t.Fatal(err)
	}
	fetches.Remove()
	if got := rest(t, r); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if lost := r.Status()["lost"]; lost != int64(6) {
		t.Errorf("lost %v, want 6", lost)
	}
}

func TestCompactionIsNoLoss(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	if err := c.CreateTopic("compact", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	client := producer(t, l)
	var records []*kgo.Record
	for i := range 50 {
		records = append(records, &kgo.Record{Topic: "compact", Key: fmt.Append(nil, i%5), Value: fmt.Appendf(nil, `{"message":"%d"}`, i)})
	}
	for _, rec := range records {
		produce(t, client, rec)
	}
	c.Compact()
	r := l.open(t, func(cfg *Config) { cfg.Topic = "compact" })
	defer shut(t, r)
	got := drain(t, r)
	if len(got) == 0 || !slices.Contains(got, "49") {
		t.Errorf("got %v", got)
	}
	if lost := r.Status()["lost"]; lost != int64(0) {
		t.Errorf("compaction counted as %v lost", lost)
	}
}

// Compaction may leave a batch without records at the end of a partition: the
// client passes it and says nothing.
func TestFinishDoesNotWaitForRecordsThatCompactionTook(t *testing.T) {
	c := broker(t, 1)
	l := at(c)
	client := producer(t, l)
	produce(t, client, messages(0, 0, 1)...)
	r := l.open(t)
	readAll(t, r, 1)
	shut(t, r)
	produce(t, client, messages(0, 1, 10)...)
	c.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if len(req.Topics) != 1 || req.Topics[0].Partitions[0].FetchOffset != 1 {
			return nil, nil, false
		}
		return emptied(req, 9), nil, true
	})
	r = l.open(t)
	defer shut(t, r)
	if got := drain(t, r); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if lost := r.Status()["lost"]; lost != int64(0) {
		t.Errorf("compaction counted as %v lost", lost)
	}
}

// emptied answers a fetch with a batch of so many offsets and no records.
func emptied(req *kmsg.FetchRequest, offsets int32) *kmsg.FetchResponse {
	asked := req.Topics[0].Partitions[0]
	batch := kmsg.RecordBatch{
		FirstOffset: asked.FetchOffset, PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: offsets - 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.SessionID = req.SessionID
	topic, part := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
	part.Partition, part.HighWatermark, part.LastStableOffset = asked.Partition, 10, 10
	part.RecordBatches = sealed(batch)
	topic.Partitions = append(topic.Partitions, part)
	resp.Topics = append(resp.Topics, topic)
	return resp
}
