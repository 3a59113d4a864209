package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/internal/ports"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func settings(dir string, log *lines) stage.Settings {
	return stage.Settings{Name: "kafka", StateDir: dir, Log: slog.New(slog.NewTextHandler(log, nil)),
		Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock}
}

func opened(t *testing.T, dir string, log *lines, change ...func(*Config)) *Cluster {
	t.Helper()
	c := Stage.New().(*Config)
	for _, f := range change {
		f(c)
	}
	cluster, err := c.Open(t.Context(), settings(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	return cluster.(*Cluster)
}

func client(t *testing.T, c *Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := c.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

const v1 = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"}]}`

func TestTopicsSchemasAndRecordsSurviveARestart(t *testing.T) {
	dir, log := t.TempDir(), &lines{}
	c := opened(t, dir, log)
	if err := c.EnsureTopic(t.Context(), Topic{Name: "logs", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	id, err := c.Registry().Register(t.Context(), "logs-value", v1)
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, c)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "logs", Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c = opened(t, dir, log)
	if got, err := c.Registry().Schema(t.Context(), id); err != nil || got != v1 {
		t.Errorf("schema %d after the restart: %q, %v", id, got, err)
	}
	other, err := c.Registry().Register(t.Context(), "other-value", `{"type":"record","name":"O","fields":[]}`)
	if err != nil || other == id {
		t.Errorf("a new schema got the id %d of an old one (%v)", other, err)
	}
	reader := client(t, c, kgo.ConsumeTopics("logs"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if records := reader.PollFetches(ctx).Records(); len(records) != 1 || string(records[0].Value) != "kept" {
		t.Errorf("records after the restart: %v", records)
	}
	for _, part := range []string{"embedded broker (kfake) at 127.0.0.1:", "not for production", "for Kafka set resources.kafka.brokers"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not say %q:\n%s", part, log)
		}
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	c := opened(t, dir, &lines{})
	if err := c.EnsureTopic(t.Context(), Topic{Name: "logs", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	cl := client(t, c)
	fill(t, cl, 64)
	commit(t, cl, "g", 40)
	id, err := c.Registry().Register(t.Context(), "logs-value", v1)
	if err != nil {
		t.Fatal(err)
	}
	// the files as they are now are what a process that is killed leaves behind
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c = opened(t, crashed, &lines{})
	if p := c.broker.cluster.PartitionInfo("logs", 0); p == nil || p.HighWatermark != 64 {
		t.Errorf("the partition after the kill: %+v", p)
	}
	if g := c.broker.cluster.GroupInfo("g"); g == nil || g.Commits["logs"][0].Offset != 40 {
		t.Errorf("the group after the kill: %+v", g)
	}
	if got, err := c.Registry().Schema(t.Context(), id); err != nil || got != v1 {
		t.Errorf("the schema after the kill: %q, %v", got, err)
	}
}

func TestTopicsGrowAndNeverShrink(t *testing.T) {
	c := opened(t, "", &lines{})
	ensure := func(partitions int) error {
		return c.EnsureTopic(t.Context(), Topic{Name: "logs", Partitions: partitions, Replication: 3,
			Retention: time.Hour, RetentionBytes: 1 << 20, Cleanup: "delete"})
	}
	for _, partitions := range []int{3, 3, 6} {
		if err := ensure(partitions); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.broker.cluster.PartitionInfos("logs")); n != 6 {
		t.Errorf("%d partitions, want 6", n)
	}
	err := ensure(2)
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "6") || !strings.Contains(err.Error(), "2") {
		t.Errorf("shrinking: %v", err)
	}
	info := c.broker.cluster.TopicInfo("logs")
	for key, want := range map[string]string{"retention.ms": "3600000", "retention.bytes": "1048576", "cleanup.policy": "delete"} {
		if got := info.Configs[key]; got == nil || *got != want {
			t.Errorf("%s is %v, want %s", key, got, want)
		}
	}
}

func TestASchemaThatReadersCannotFollowIsRefused(t *testing.T) {
	c := opened(t, "", &lines{})
	if _, err := c.Registry().Register(t.Context(), "logs-value", v1); err != nil {
		t.Fatal(err)
	}
	_, err := c.Registry().Register(t.Context(), "logs-value",
		`{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"tenant","type":"string"}]}`)
	if stage.ClassOf(err) != stage.Unfixable {
		t.Fatalf("want a fatal error, got %v", err)
	}
	for _, part := range []string{"logs-value", "tenant", "BACKWARD"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if _, err := c.Registry().Schema(t.Context(), 99); !errors.Is(err, ErrUnknownSchema) {
		t.Errorf("an id that was never given: %v", err)
	}
}

func TestWithoutARegistryTheErrorSaysWhatToSet(t *testing.T) {
	c := opened(t, "", &lines{}, func(c *Config) { c.Brokers = "127.0.0.1:1" })
	_, err := c.Registry().Register(t.Context(), "s", v1)
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "resources.kafka.registry") {
		t.Errorf("%v", err)
	}
}

func TestAPasswordOfTheRegistryIsNeverShown(t *testing.T) {
	c := opened(t, "", &lines{}, func(c *Config) {
		c.Brokers, c.Registry = "127.0.0.1:1", "http://alice:sesame@127.0.0.1:1"
	})
	_, err := c.Registry().Schema(t.Context(), 1)
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("%v", err)
	}
	if stage.ClassOf(err) != stage.Retryable {
		t.Errorf("a registry that is away is weather, got %v", stage.ClassOf(err))
	}
}

func TestOpeningNeedsNoNetworkAndProbingDoes(t *testing.T) {
	c := opened(t, "", &lines{}, func(c *Config) { c.Brokers = "127.0.0.1:1" })
	if err := c.Probe(t.Context()); err == nil {
		t.Error("nothing listens there, and the probe is content")
	}
	if err := opened(t, "", &lines{}).Probe(t.Context()); err != nil {
		t.Errorf("embedded: %v", err)
	}
}

func TestErrorsAreGivenTheClassThatTheEngineActsOn(t *testing.T) {
	for err, want := range map[error]stage.Class{
		kerr.MessageTooLarge:                         stage.BadEvent,
		kerr.InvalidRecord:                           stage.BadEvent,
		kerr.SaslAuthenticationFailed:                stage.Unfixable,
		kerr.TopicAuthorizationFailed:                stage.Unfixable,
		kerr.NotLeaderForPartition:                   stage.Retryable,
		kerr.UnknownTopicOrPartition:                 stage.Retryable,
		&net.OpError{Op: "dial", Err: net.ErrClosed}: stage.Retryable,
		context.Canceled:                             stage.Stopped,
		stage.Fatal(kerr.NotLeaderForPartition):      stage.Unfixable,
	} {
		if got := stage.ClassOf(Classify(fmt.Errorf("wrapped: %w", err))); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for text, change := range map[string]func(*Config){
		"brokers: want embedded or host:port":         func(c *Config) { c.Brokers = "kafka" },
		"the port must be":                            func(c *Config) { c.Brokers = "kafka:9092,other:99999" },
		"belong below sasl (not shown":                func(c *Config) { c.Brokers = "kafka://bob:sesame,x@kafka:9092" },
		"brokers: must not be empty":                  func(c *Config) { c.Brokers = "," },
		"brokers: want embedded or embedded:PORT":     func(c *Config) { c.Brokers = "embedded:x" },
		"registry: want embedded or a URL":            func(c *Config) { c.Registry = "registry:8081" },
		"embedded_retention: must be at least 1MiB":   func(c *Config) { c.EmbeddedRetention = 1 },
		"sasl.mechanism: must be one of":              func(c *Config) { c.Brokers, c.SASL = "kafka:9092", &SASL{Mechanism: "md5", User: "u"} },
		"sasl.user: must not be empty":                func(c *Config) { c.Brokers, c.SASL = "kafka:9092", &SASL{Mechanism: "plain"} },
		"sasl.password: must not be empty":            func(c *Config) { c.Brokers, c.SASL = "kafka:9092", &SASL{Mechanism: "plain"} },
		"sasl.mechanism: plain sends the password":    func(c *Config) { c.Brokers, c.SASL = "kafka:9092", &SASL{Mechanism: "plain"} },
		"registry: the ids that an embedded registry": func(c *Config) { c.Brokers, c.Registry = "kafka:9092", "embedded" },
	} {
		c := Stage.New().(*Config)
		change(c)
		var p stage.Problems
		c.Validate(&p)
		found := false
		for _, problem := range p.Found {
			found = found || strings.Contains(problem.Key+": "+problem.Text, text)
		}
		if !found || strings.Contains(fmt.Sprint(p.Found), "sesame") {
			t.Errorf("want %q, and no password, got %v", text, p.Found)
		}
	}
	var p stage.Problems
	Stage.New().(*Config).Validate(&p)
	if len(p.Found) > 0 {
		t.Errorf("the defaults are wrong: %v", p.Found)
	}
}

func TestABrokerProcessServesOthersUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	addresses, ended := make(chan [2]string, 1), make(chan error, 1)
	go func() {
		ended <- Stage.New().(*Config).ServeBroker(ctx, settings(t.TempDir(), &lines{}), "127.0.0.1:0", "127.0.0.1:0",
			func(b, r string) { addresses <- [2]string{b, r} })
	}()
	at := <-addresses
	c := opened(t, "", &lines{}, func(c *Config) { c.Brokers, c.Registry = at[0], stage.Secret(at[1]) })
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.EnsureTopic(t.Context(), Topic{Name: "logs"}); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	err := Stage.New().(*Config).ServeBroker(t.Context(), settings("", &lines{}), "0.0.0.0:0", "127.0.0.1:0", nil)
	if err == nil || !strings.Contains(err.Error(), "names no host") {
		t.Errorf("an address that clients cannot come back to: %v", err)
	}
}

func TestThePortIsTheOneThatWasGiven(t *testing.T) {
	port := ports.One(t)
	c := opened(t, "", &lines{}, func(c *Config) { c.Brokers = fmt.Sprint("embedded:", port) })
	if c.broker.address != ports.Address(port) {
		t.Errorf("listens on %s, want port %d", c.broker.address, port)
	}
}

// filled makes a topic of one partition with n records of 1 KiB in many
// batches, and the trimmer that looks after it when the test says so: the
// broker's own would do it after some seconds, in the midst of a slow test.
func filled(t *testing.T, log *lines, n int) (*Cluster, *trimmer, *kgo.Client) {
	c := opened(t, t.TempDir(), log, func(c *Config) { c.EmbeddedRetention = 1 << 20 })
	c.broker.stopTrimming()
	if err := c.EnsureTopic(t.Context(), Topic{Name: "logs", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	cl := client(t, c, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0))
	fill(t, cl, n)
	return c, &trimmer{broker: c.broker, admin: kadm.NewClient(cl), now: time.Now,
		log: slog.New(slog.NewTextHandler(log, nil)), said: map[string]time.Time{}}, cl
}

func fill(t *testing.T, cl *kgo.Client, n int) {
	t.Helper()
	for range n / 32 {
		records := make([]*kgo.Record, 32)
		for i := range records {
			records[i] = &kgo.Record{Topic: "logs", Value: bytes.Repeat([]byte("x"), 1024)}
		}
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, cl *kgo.Client, group string, offset int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset("logs", 0, offset, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// trimmed is the partition after as many rounds as it takes to come within its
// bound: each takes a record at least, and a batch goes when all of its have gone.
func trimmed(t *testing.T, c *Cluster, trimmer *trimmer) *kfake.PartitionInfo {
	t.Helper()
	for range 100 {
		if c.broker.cluster.PartitionInfo("logs", 0).NumBytes <= 1<<20 {
			break
		}
		if err := trimmer.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c.broker.cluster.PartitionInfo("logs", 0)
}

func TestATopicThatNobodyReadsIsCutToItsRetention(t *testing.T) {
	c, trimmer, _ := filled(t, &lines{}, 4096)
	p := trimmed(t, c, trimmer)
	if p.NumBytes > 1<<20 || p.LogStartOffset == 0 || p.LogStartOffset >= p.HighWatermark {
		t.Errorf("%d bytes are kept, records %d to %d", p.NumBytes, p.LogStartOffset, p.HighWatermark)
	}
}

func TestRetentionNeverPassesWhatAGroupHasYetToRead(t *testing.T) {
	log := &lines{}
	c, trimmer, cl := filled(t, log, 4096)
	commit(t, cl, "slow", 100)
	commit(t, cl, "fast", 4000)
	for range 5 {
		if err := trimmer.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if start := c.broker.cluster.PartitionInfo("logs", 0).LogStartOffset; start != 100 {
		t.Errorf("the log starts at %d, but group slow has read only up to 100", start)
	}
	if n := strings.Count(log.String(), "grows beyond its retention"); n != 1 {
		t.Errorf("the topic is beyond its bound and the log says so %d times, want once:\n%s", n, log)
	}
	commit(t, cl, "slow", 4096)
	commit(t, cl, "fast", 4096)
	if p := trimmed(t, c, trimmer); p.NumBytes > 1<<20 {
		t.Errorf("all is read, and still %d bytes are kept", p.NumBytes)
	}
}

func TestAGroupThatHasNotCommittedYetKeepsTheWholeTopic(t *testing.T) {
	c, trimmer, _ := filled(t, &lines{}, 4096)
	reader := client(t, c, kgo.ConsumerGroup("starting"), kgo.ConsumeTopics("logs"), kgo.DisableAutoCommit())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if len(reader.PollFetches(ctx).Records()) == 0 {
		t.Fatal("the group got nothing")
	}
	if err := trimmer.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if start := c.broker.cluster.PartitionInfo("logs", 0).LogStartOffset; start != 0 {
		t.Errorf("the log starts at %d under a group that has committed nothing", start)
	}
}

func TestOnlyATopicThatSetsATimeLosesWhatIsOlderAndNotFromUnderAGroup(t *testing.T) {
	c, trimmer, cl := filled(t, &lines{}, 64)
	start := func() int64 {
		if err := trimmer.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.broker.cluster.PartitionInfo("logs", 0).LogStartOffset
	}
	commit(t, cl, "g", 10)
	trimmer.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if got := start(); got != 0 {
		t.Errorf("the topic sets no time, and the log starts at %d", got)
	}
	hour := "3600000"
	_, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: &hour}}, "logs")
	if err != nil {
		t.Fatal(err)
	}
	if got := start(); got != 10 {
		t.Errorf("group g has read up to 10, and the log starts at %d", got)
	}
	// eight days later the group has not committed for a week: it is gone
	trimmer.now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	if got := start(); got != 64 {
		t.Errorf("the log starts at %d, want all 64 old records gone", got)
	}
}
