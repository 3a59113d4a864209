package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// The vectors are those of Kafka's own UtilsTest.testMurmur2; a partition is
// the positive part of the hash modulo the number of partitions.
func TestKeysGoToThePartitionThatKafkasOwnClientsChoose(t *testing.T) {
	murmur2 := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	}
	var batch []event.Event
	for key := range murmur2 {
		batch = append(batch, event.Event{Source: key})
	}
	broker := fake(t)
	cluster := clusterAt(t, broker.ListenAddrs()[0])
	for _, partitions := range []int{3, 6, 100} {
		topic := fmt.Sprintf("of-%d", partitions)
		w := openSink(t, cluster, func(c *Config) { c.Topic, c.Partitions, c.Key = topic, partitions, "source" })
		if err := w.Write(t.Context(), event.NewBatch(batch)); err != nil {
			t.Fatal(err)
		}
		for _, r := range consume(t, broker.ListenAddrs(), topic, len(batch)) {
			if want := (murmur2[string(r.Key)] & 0x7fffffff) % int32(partitions); r.Partition != want {
				t.Errorf("%s: partition %d of %d, want %d", r.Key, r.Partition, partitions, want)
			}
		}
	}
}

func TestTheKeyIsWhatTheConfigurationNames(t *testing.T) {
	e := event.Event{ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"), Source: "s", Host: "h", CorrelationID: "c", Organisation: "o",
		TraceID: "t", SpanID: "sp", Level: event.LevelWarn, Attributes: []event.Attribute{{Key: "user_id", Value: event.Int(42)}}}
	for name, want := range map[string]string{"id": e.ID.String(), "source": "s", "host": "h", "correlation_id": "c", "organisation": "o",
		"trace_id": "t", "span_id": "sp", "level": "WARN", "user_id": "42", "nobody": ""} {
		if got := string(keyOf(name)(nil, &e)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if keyOf("none") != nil {
		t.Error("none makes a key")
	}
}

func TestWrongAndUnwiseSettingsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"topic: must be 1 to 249", func(c *Config) { c.Topic = "log events" }},
		{"topic: must be 1 to 249", func(c *Config) { c.Topic = "" }},
		{"partitions: must not be below 0", func(c *Config) { c.Partitions = -1 }},
		{"cleanup_policy: must be one of", func(c *Config) { c.CleanupPolicy = "forget" }},
		{"batch_bytes: must be from 16KiB", func(c *Config) { c.BatchBytes = 1000 }},
		{"partition: must be severity or expression, got both", func(c *Config) { c.Partition = partition(t, "severity"); c.Partition.Expression = text(t, "source") }},
		{"partition.severity.reserve: needs at least 2", func(c *Config) { c.Partition.Severity, c.Partitions = &Severity{Reserve: true}, 1 }},
		{"warning partition.expression: a time as", func(c *Config) { c.Partition.Expression = text(t, "string(time.Unix())") }},
		{"delivery.default.acknowledged: must be at least 100ms", func(c *Config) { c.Delivery.Default.Acknowledged = 1 }},
		{"delivery.levels.ERROR.acknowledged: cannot be with acks: none", func(c *Config) { c.Acks, c.Delivery = "none", bySeverityOf(t) }},
		{"warning delivery.default: fire_and_forget counts", func(c *Config) { c.Delivery.Default.forgets = true }},
		{"compression: must be one of", func(c *Config) { c.Compression = "rar" }},
		{"acks: must be one of", func(c *Config) { c.Acks = "2" }},
		{"headers.1: must be one of", func(c *Config) { c.Headers = []string{"event_id", "x"} }},
		{"linger: must be from 0", func(c *Config) { c.Linger = -1 }},
		{"delivery_timeout: must be at least", func(c *Config) { c.DeliveryTimeout = 1 }},
		{"max_buffered_bytes: must be at least", func(c *Config) { c.MaxBufferedBytes = 1 }},
		{"value.avro: open no-such.avsc", func(c *Config) { c.Value.Avro = "no-such.avsc" }},
		{"key: must be id", func(c *Config) { c.Key = "" }},
		{"key: must be set when cleanup_policy is compact", func(c *Config) { c.Key, c.CleanupPolicy = "none", "compact" }},
		{"warning cleanup_policy: compact keeps the last record of each key, and id", func(c *Config) { c.CleanupPolicy = "compact" }},
		{"warning cleanup_policy: compact keeps only the last event of each organisation", func(c *Config) { c.Key, c.CleanupPolicy = "organisation", "compact" }},
		{"warning key: a time as key", func(c *Config) { c.Key = "timestamp" }},
		{"warning acks: none", func(c *Config) { c.Acks, c.Idempotent = "none", false }},
		{"warning acks: leader", func(c *Config) { c.Acks = "leader" }},
		{"warning idempotent: needs acks: all", func(c *Config) { c.Acks = "leader" }},
		{"warning idempotent: false lets", func(c *Config) { c.Idempotent = false }},
	} {
		var p stage.Problems
		config(tc.change).Validate(&p)
		found := false
		for _, problem := range p.Found {
			text := problem.Key + ": " + problem.Text
			if problem.Warning {
				text = "warning " + text
			}
			found = found || strings.HasPrefix(text, tc.want)
		}
		if !found {
			t.Errorf("want %q, got %v", tc.want, p.Found)
		}
	}
	var p stage.Problems
	config(func(c *Config) { c.Value.Avro = schemaFile }).Validate(&p)
	if len(p.Found) > 0 {
		t.Errorf("the defaults are wrong: %v", p.Found)
	}
	var v Value
	if err := v.UnmarshalText([]byte("xml")); err == nil || v.UnmarshalText([]byte("json")) != nil {
		t.Errorf("value: xml gives %v", err)
	}
}

func TestEveryChoiceOfAcksCompressionAndPartitionerDelivers(t *testing.T) {
	broker := fake(t)
	cluster := clusterAt(t, broker.ListenAddrs()[0])
	n := 0
	try := func(change func(*Config)) {
		n++
		topic := fmt.Sprintf("t%d", n)
		w := openSink(t, cluster, func(c *Config) { c.Topic = topic }, change)
		b := event.NewBatch(events(60))
		if err := w.Write(t.Context(), b); err != nil || b.FirstErr(event.Open) != nil {
			t.Fatalf("%v, %v", err, b.FirstErr(event.Open))
		}
		consume(t, broker.ListenAddrs(), topic, 60)
	}
	for _, acks := range []string{"all", "leader", "none"} {
		try(func(c *Config) { c.Acks = acks })
	}
	for _, compression := range []string{"snappy", "lz4", "zstd", "gzip", "none"} {
		try(func(c *Config) { c.Compression = compression })
	}
	for _, rule := range []string{"key", "severity", "round_robin", "sticky"} {
		try(func(c *Config) { c.Partition, c.Key = partition(t, rule), "none" })
	}
}

func TestTheCountersCountAnswersNotAttempts(t *testing.T) {
	broker := fake(t)
	w := openSink(t, clusterAt(t, broker.ListenAddrs()[0]), func(c *Config) { c.Partitions = 1 })
	batch := events(10)
	batch[3].Message = strings.Repeat("x", 2000000)
	if err := w.Write(t.Context(), event.NewBatch(batch)); err != nil {
		t.Fatal(err)
	}
	if sent, failed := testutil.ToFloat64(w.producers[0].metrics.sentAs[1]), testutil.ToFloat64(w.producers[0].metrics.failedAs[1]); sent != 9 || failed != 1 {
		t.Errorf("sent %v, failed %v; want 9 and 1", sent, failed)
	}
	if n := testutil.CollectAndCount(w.producers[0].metrics.durations[1]); n != 1 {
		t.Errorf("%d histograms", n)
	}
}

func TestTheTopicIsLinkedByResourceAndName(t *testing.T) {
	c := config()
	if l := c.Links(); len(l) != 1 || !l[0].Writes || l[0].What != "kafka:kafka:log-events" {
		t.Errorf("%+v", l)
	}
	if e := c.Explain(); !strings.Contains(e.Does, "replicas") || !strings.Contains(e.Away, "5s") || e.Crash == "" {
		t.Errorf("%+v", e)
	}
}
