// Package kafka reads the records of a topic, or of several, as a member of a
// consumer group.
//
// A record's way. The pump polls the client and puts what came into the queue
// of its partition (pump.go). Read takes a stretch of one partition's queue,
// decodes it into events (decode.go) and hands it out as a parcel: the lane is
// the partition, so that the order within it holds. When a parcel is settled,
// the partition's ledger (ledger.go) knows how far everything before is settled
// too, and only that far is committed, once a second, when a partition is given
// up, and at Close (group.go).
//
// Nothing is committed for an event that was returned: its records are handed
// out again, or by the group's next member. Memory is bounded by what a
// partition may have queued and handed out (partition.go); a stuck partition is
// paused at the broker while the others flow.
//
// With workers, a partition is several lanes (lanes.go); several topics are
// several readers of the same group (topics.go).
package kafka

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name:  "kafka",
	Kind:  stage.KindSource,
	Files: files,
	New:   func() any { return &Config{Value: "json", Workers: 1} },
}

// Config is what a pipeline file says of a Kafka source.
type Config struct {
	// Topic to read. When it does not exist yet, the source waits for it.
	Topic string `yaml:"topic"`
	// Topics are several to read instead: names, and patterns (regular
	// expressions for whole names, such as 'logs\..*'). A topic that is made
	// later and matches is found within seconds and read from its beginning.
	Topics []string `yaml:"topics"`
	// Group is the consumer group. Processes with the same group share the
	// partitions of the topic, and the group remembers how far it has come.
	Group string `yaml:"group"`
	// Start says where a group begins in a partition for which it has no
	// committed offset: earliest (the default), latest, {time: …} or {offset: …}.
	// A group that has committed goes on where it was.
	Start Start `yaml:"start"`
	// Value says how to read the values that do not begin with the schema
	// registry's frame: json (default), or raw, where the value becomes the
	// message. Values with the frame (a zero byte and a schema id) are always
	// Avro.
	Value string `yaml:"value"`
	// Headers names the record headers that become attributes of the event;
	// ["*"] takes all. What the value says itself stays. A header `traceparent`
	// becomes trace and span id. Of a record that a replay of bad events wrote,
	// the x-dlq- headers are always read: its event has the id, count of replays,
	// organisation, source, level and attributes that they say, so who may write
	// to the topic can say anything there. Default none.
	Headers []string `yaml:"headers"`
	// Workers is how many lanes a partition is spread over, from 1 (default) to
	// 64. Records with the same key keep their order, others overtake each
	// other; it is the way to more workers than partitions. Only what is settled
	// in all lanes is committed.
	Workers int `yaml:"workers"`
	// Resource is the Kafka cluster to read from; may be left out when the
	// pipeline has one.
	Resource stage.Ref `yaml:"resource" resource:"kafka"`
}

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	c.validateTopics(p)
	switch {
	case len(c.Topics) > 0:
	case c.Topic == "":
		p.Add("topic", "must name the topic to read")
	case !validTopic(c.Topic):
		p.Add("topic", "must be 1 to 249 letters, digits, dots, underscores or hyphens, got %q", c.Topic)
	}
	if c.Group == "" {
		p.Add("group", "must name the consumer group, got nothing")
	}
	c.Start.validate(p)
	p.OneOf("value", c.Value, "json", "raw")
	if c.Workers < 1 || c.Workers > maxWorkers {
		p.Add("workers", "must be from 1 to %d, got %d", maxWorkers, c.Workers)
	}
	for i, name := range c.Headers {
		if name == "" {
			p.Add(fmt.Sprintf("headers.%d", i), "must name a header, or be * for all")
		}
	}
}

func (c *Config) validateTopics(p *stage.Problems) {
	if c.Topic != "" && len(c.Topics) > 0 {
		p.Add("topics", "must not be beside topic: %s; list it among the topics", c.Topic)
	}
	for i, name := range c.Topics {
		if !isPattern(name) {
			continue
		}
		if _, err := compilePattern(name); err != nil || name == "" {
			p.Add(fmt.Sprintf("topics.%d", i), "must be the name of a topic or a regular expression, got %q", name)
		}
	}
	if len(c.Topics) > 0 && len(c.Start.Offset) > 0 {
		p.Add("start.offset", "is for one topic; with topics, start at a time")
	}
}

// named is what is read, for people.
func (c *Config) named() string { return cmp.Or(strings.Join(c.Topics, ", "), c.Topic) }

// validTopic is Kafka's rule for the names of topics.
func validTopic(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	lanes := ""
	if c.Workers > 1 {
		lanes = fmt.Sprintf("; each partition has %d lanes: order holds among records with the same key, not in the partition as a whole", c.Workers)
	}
	return stage.Explanation{
		Does: fmt.Sprintf("reads topic %s as group %s, which begins %v; a partition's offset is committed only up to its first unsettled event%s",
			c.named(), c.Group, &c.Start, lanes),
		Crash: "events that were settled after the last commit (about a second) are read again, with the same ids; " +
			"none is skipped unless the topic's retention deletes it first, which is counted as lost",
		Away: "waits; while the broker is away nothing new is read and nothing is lost, and while the schema registry is away " +
			"Avro records with a schema not seen before wait",
	}
}

// Place says that events stay in the topic until they are settled.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Links says that the source reads the topics. What a pattern will match nobody
// knows before the run.
func (c *Config) Links() (links []stage.Link) {
	for _, name := range append([]string{c.Topic}, c.Topics...) {
		if validTopic(name) {
			links = append(links, stage.Link{What: fmt.Sprintf("kafka:%s:%s", c.Resource, name)})
		}
	}
	return links
}

// Open joins the group in the background and returns at once, whether or not
// the brokers can be reached.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Reader, error) {
	cluster, err := stage.Use[*kafka.Cluster](s, c.Resource)
	if err != nil {
		return nil, fmt.Errorf("topic %q: %w", c.named(), err)
	}
	if len(c.Topics) > 0 {
		return c.openTopics(s, cluster)
	}
	r := newReader(c, s, cluster)
	if err := s.Metrics.Register(r); err != nil {
		return nil, fmt.Errorf("topic %q: registering metrics: %w", c.Topic, err)
	}
	if err := r.connect(); err != nil {
		s.Metrics.Unregister(r)
		return nil, err
	}
	return r, nil
}

// Waits and bounds of the client.
const (
	fetchMaxWait           = 500 * time.Millisecond
	fetchMaxBytes          = 8 << 20
	fetchMaxPartitionBytes = 1 << 20
	metadataMinAge         = 500 * time.Millisecond
	metadataMaxAge         = 30 * time.Second
	sessionTimeout         = 10 * time.Second // a process that was killed holds its partitions so long
	resetRewind            = time.Minute      // when the broker lost data and nobody knows how much
)

// options of the client. It fetches little ahead, since memory is bounded by
// partition here and not there, and looks often for a topic that is not there
// yet. A fetch waits at most half a second at the broker: a partition that is
// resumed waits for the fetch before it.
func (r *reader) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(r.cfg.Group),
		kgo.ConsumeTopics(r.cfg.Topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // place knows better
		kgo.ConsumeResetOffset(kgo.RewindOffset(resetRewind)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // positions count transaction markers too
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // until what was polled is in the queues
		kgo.OnPartitionsAssigned(r.assigned),
		kgo.AdjustFetchOffsetsFn(r.place),
		kgo.OnPartitionsRevoked(r.revoked),
		kgo.OnPartitionsLost(r.lostPartitions),
		kgo.SessionTimeout(sessionTimeout),
		kgo.FetchMaxWait(fetchMaxWait),
		kgo.FetchMaxBytes(fetchMaxBytes),
		kgo.FetchMaxPartitionBytes(fetchMaxPartitionBytes),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MetadataMaxAge(metadataMaxAge),
	}
}
