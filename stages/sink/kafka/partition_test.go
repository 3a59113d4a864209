package kafka

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"millrace/engine/event"
	"millrace/engine/expression"
)

func partition(t testing.TB, word string) (p Partition) {
	t.Helper()
	if err := p.UnmarshalText([]byte(word)); err != nil {
		t.Fatal(err)
	}
	return p
}

func text(t testing.TB, source string) (e expression.Text) {
	t.Helper()
	if err := e.UnmarshalText([]byte(source)); err != nil {
		t.Fatal(err)
	}
	return e
}

// vector is one line of what the Java client computed.
type vector struct {
	key        string
	hash       int32
	partitions map[int]int // by how many there are
}

func javaVectors(t testing.TB) (all []vector) {
	t.Helper()
	f, err := os.Open("testdata/java_partitions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if fields[0] == "#" {
			continue
		}
		key, err := hex.DecodeString(strings.TrimPrefix(fields[0], "-"))
		if err != nil {
			t.Fatal(err)
		}
		numbers := make([]int, len(fields))
		for i, f := range fields[1:] {
			if numbers[i], err = strconv.Atoi(f); err != nil {
				t.Fatal(err)
			}
		}
		v := vector{key: string(key), hash: int32(numbers[0]), partitions: map[int]int{}}
		for i, n := range []int{1, 3, 6, 7, 12, 100} {
			v.partitions[n] = numbers[i+1]
		}
		all = append(all, v)
	}
	if len(all) < 20 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func TestTheHashIsThatOfTheJavaClient(t *testing.T) {
	for _, v := range javaVectors(t) {
		if got := int32(murmur2([]byte(v.key))); got != v.hash {
			t.Errorf("%q: %d, want %d", v.key, got, v.hash)
		}
		for n, want := range v.partitions {
			if got := int(positive(murmur2([]byte(v.key)))) % n; got != want {
				t.Errorf("%q of %d: %d, want %d", v.key, n, got, want)
			}
		}
	}
}

// partitionsOf writes events under a rule and says which partition each went
// to, by its message.
func partitionsOf(t *testing.T, partitions int, events []event.Event, change func(*Config)) map[string]int {
	t.Helper()
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Partitions, c.Key = partitions, "source" }, change)
	for i := range events {
		events[i].Message = strconv.Itoa(i)
	}
	b := event.NewBatch(events)
	if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
		t.Fatal(err, b.FirstErr(event.Open))
	}
	at := map[string]int{}
	for _, r := range consume(t, broker.ListenAddrs(), "log-events", len(events)) {
		at[decodedJSON(t, r).Message] = int(r.Partition)
	}
	return at
}

func TestKeysGoWhereTheJavaClientPutsThem(t *testing.T) {
	vectors := javaVectors(t)[1:] // the empty key is none
	for _, n := range []int{3, 7} {
		var batch []event.Event
		for _, v := range vectors {
			batch = append(batch, event.Event{Source: v.key})
		}
		at := partitionsOf(t, n, batch, func(*Config) {})
		for i, v := range vectors {
			if got := at[strconv.Itoa(i)]; got != v.partitions[n] {
				t.Errorf("%q of %d: partition %d, want %d", v.key, n, got, v.partitions[n])
			}
		}
	}
}

func TestSevereEventsGoToPartitionZero(t *testing.T) {
	levels := []event.Level{event.LevelUnset, event.LevelDebug, event.LevelInfo, event.LevelWarn, event.LevelError, event.LevelFatal}
	var batch []event.Event
	for i := range 60 {
		batch = append(batch, event.Event{Source: fmt.Sprint("service-", i/len(levels)), Level: levels[i%len(levels)]})
	}
	for _, reserve := range []bool{false, true} {
		at := partitionsOf(t, 4, append([]event.Event(nil), batch...), func(c *Config) { c.Partition.Severity = &Severity{Reserve: reserve} })
		for i, e := range batch {
			hash := int(positive(murmur2([]byte(e.Source))))
			want := hash % 4
			switch {
			case e.Level >= event.LevelError:
				want = 0
			case reserve:
				want = 1 + hash%3
			}
			if got := at[strconv.Itoa(i)]; got != want {
				t.Errorf("reserve %v, %v of %s: partition %d, want %d", reserve, e.Level, e.Source, got, want)
			}
		}
	}
}

func TestAnExpressionChoosesThePartition(t *testing.T) {
	batch := []event.Event{
		{Source: "a", Organisation: "acme"}, {Source: "b", Organisation: "42"}, {Source: "c", Organisation: "-1"}, {Source: "d", Organisation: "3"},
	}
	at := partitionsOf(t, 5, batch, func(c *Config) { c.Partition.Expression = text(t, "organisation") })
	for i, want := range []int{int(positive(murmur2([]byte("acme")))) % 5, 42 % 5, (1<<31 - 1) % 5, 3} {
		if got := at[strconv.Itoa(i)]; got != want {
			t.Errorf("%s: partition %d, want %d", batch[i].Organisation, got, want)
		}
	}
}

func TestAnEventThatThePartitionRuleCannotReadIsRefusedAlone(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Partition.Expression = text(t, "attributes.shard + 1") })
	batch := events(3)
	batch[0].SetAttribute("shard", event.Int(1))
	batch[2].SetAttribute("shard", event.Int(4))
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Outcome(1) != event.Refused || !strings.Contains(b.Err(1).Error(), "partition: ") || b.Count(event.Refused) != 1 {
		t.Errorf("%v: %v", b.Outcome(1), b.Err(1))
	}
	for _, r := range consume(t, broker.ListenAddrs(), "log-events", 2) {
		if r.Partition != 2 {
			t.Errorf("partition %d, want 2", r.Partition)
		}
	}
}

// A record that a broker refuses makes the others go again one by one: to the
// partition of the rule all the same.
func TestRecordsThatAreSentAgainKeepTheirPartition(t *testing.T) {
	broker := fake(t, fakeLimit("20000"))
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) {
		c.Partitions, c.Compression, c.Partition.Severity = 3, "none", &Severity{Reserve: true}
	})
	batch := events(20)
	for i := range batch {
		batch[i].Level = event.LevelError
	}
	batch[7].Message = strings.Repeat("x", 30000)
	b := event.NewBatch(batch)
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := broker.PartitionInfo("log-events", 0).HighWatermark; n != 19 || b.Count(event.Refused) != 1 {
		t.Errorf("%d records in partition 0, %d refused; want 19 and 1", n, b.Count(event.Refused))
	}
}

func TestTheSkewOfPartitionsIsMeasured(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Partitions, c.Partition.Expression = 2, text(t, "offset % 4 == 0 ? 1 : 0") })
	batch := events(100)
	for i := range batch {
		batch[i].Offset = int64(i)
	}
	if err := w.Write(t.Context(), event.NewBatch(batch)); err != nil {
		t.Fatal(err)
	}
	if got := w.Status()["partition_skew"]; got != 1.5 {
		t.Errorf("skew %v, want 1.5: the busiest of two partitions has 75 of 100", got)
	}
	if got := w.spread.counts(); fmt.Sprint(got) != "[75 25]" {
		t.Errorf("records by partition %v", got)
	}
}
