package kafka

import (
	"fmt"
	"regexp"
	"strconv"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
)

// Partition says which partition an event goes to.
type Partition struct {
	// Severity is a rule by level: ERROR and FATAL go to partition 0, the others
	// by the hash of their source.
	Severity *Severity `yaml:"severity"`
	// Expression is one that gives a whole number, the partition (modulo how many there
	// are), or other text, whose hash chooses it: 'source', 'offset / 1000',
	// 'organisation == "acme" ? "0" : organisation'.
	Expression expression.Text `yaml:"expression"`

	word string // one of the short forms; "": key, or what the fields say
}

// Severity is a partition by level.
type Severity struct {
	// Reserve is whether everything else stays out of partition 0. Default false.
	Reserve bool `yaml:"reserve"`
}

// The short forms.
const (
	byKey      = "key"
	roundRobin = "round_robin"
	sticky     = "sticky"
)

// UnmarshalText reads the short forms.
func (p *Partition) UnmarshalText(text []byte) error {
	switch word := string(text); word {
	case byKey, roundRobin, sticky:
		*p = Partition{word: word}
	case "severity":
		*p = Partition{Severity: &Severity{}}
	default:
		return fmt.Errorf("want key, severity, round_robin, sticky, {severity: {reserve: true}} or {expression: …}, got %q", text)
	}
	return nil
}

// ofTime finds what makes an expression depend on the time of an event.
var ofTime = regexp.MustCompile(`\b(time|timestamp|now\s*\()`)

func (c *Config) validatePartition(p *stage.Problems) {
	rule := &c.Partition
	if rule.Severity != nil && !rule.Expression.IsZero() {
		p.Add("partition", "must be severity or expression, got both")
	}
	if text := rule.Expression.String(); ofTime.MatchString(text) {
		p.Warn("partition.expression", "a time as partition rule sends all events of a moment to one partition while the others idle, and the next moment's elsewhere; use what events have in common, got %q", text)
	}
	if rule.Severity != nil && rule.Severity.Reserve && c.Partitions == 1 {
		p.Add("partition.severity.reserve", "needs at least 2 partitions, one of them for ERROR and FATAL; the topic has partitions: 1")
	}
}

// partitionRule gives the hint for an event's partition: at least 0, to be
// taken modulo the number of partitions, or severe.
type partitionRule func(*event.Event) (int32, error)

const severe = -1

// rule is what has to be known of the event itself; nil: the record's key is
// enough.
func (p *Partition) rule() partitionRule {
	switch {
	case p.Severity != nil:
		return bySeverity
	case !p.Expression.IsZero():
		return p.byExpression
	default:
		return nil
	}
}

func bySeverity(e *event.Event) (int32, error) {
	if e.Level >= event.LevelError {
		return severe, nil
	}
	return positive(murmur2(bytesOf(e.Source))), nil
}

func (p *Partition) byExpression(e *event.Event) (int32, error) {
	text, err := p.Expression.Of(e)
	if err != nil {
		return 0, fmt.Errorf("partition: %w", err)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return int32(n & 0x7fffffff), nil
	}
	return positive(murmur2(bytesOf(text))), nil
}

// bytesOf is a text as bytes, without a copy, for reading.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// partitioner turns a record's hint into its partition where there is a rule;
// otherwise the client's own do. Hash is murmur2 as in Kafka's Java client, so
// that other producers of the topic put the same key into the same partition.
func (p *Partition) partitioner() kgo.Partitioner {
	switch {
	case p.Severity != nil && p.Severity.Reserve:
		return hinted(func(hint int32, n int) int {
			if hint == severe || n == 1 {
				return 0
			}
			return 1 + int(hint)%(n-1)
		})
	case p.Severity != nil, !p.Expression.IsZero():
		return hinted(func(hint int32, n int) int { return int(max(hint, 0)) % n })
	case p.word == roundRobin:
		return kgo.RoundRobinPartitioner()
	case p.word == sticky:
		return kgo.StickyPartitioner()
	default:
		return kgo.UniformBytesPartitioner(64<<10, false, true, nil)
	}
}

// hinted finds the hint where encode has put it.
func hinted(choose func(hint int32, n int) int) kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int { return choose(r.Partition, n) }
	})
}

// String says in words which partition an event goes to.
func (p *Partition) String() string {
	switch {
	case p.Severity != nil && p.Severity.Reserve:
		return "ERROR and FATAL go to partition 0, which is theirs alone, others to the rest by the hash of their source"
	case p.Severity != nil:
		return "ERROR and FATAL go to partition 0, others to any by the hash of their source"
	case !p.Expression.IsZero():
		return fmt.Sprintf("the partition is chosen by %q", p.Expression)
	default:
		return ""
	}
}
