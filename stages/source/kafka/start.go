package kafka

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

// Start says where a group begins in a partition for which it has no committed
// offset. Where it has one, it goes on there, whatever Start says: to read
// again, take another group.
type Start struct {
	// Time begins at the first record with this timestamp or a later one, such
	// as 2026-01-01T00:00:00Z; at the end where there is none.
	Time Moment `yaml:"time" form:"time such as 2026-01-01T00:00:00Z"`
	// Offset begins at an offset for each partition: {0: 12, 1: 40}. Partitions
	// that are not listed begin with their earliest record.
	Offset map[Number]int64 `yaml:"offset"`

	latest bool
}

// UnmarshalText reads the short forms.
func (s *Start) UnmarshalText(text []byte) error {
	switch string(text) {
	case "earliest":
		*s = Start{}
	case "latest":
		*s = Start{latest: true}
	default:
		return fmt.Errorf("want earliest, latest, {time: 2026-01-01T00:00:00Z} or {offset: {0: 12}}, got %q", text)
	}
	return nil
}

func (s *Start) validate(p *stage.Problems) {
	if s.Time != (Moment{}) && len(s.Offset) > 0 {
		p.Add("start", "must be a time or offsets, got both")
	}
	for number, offset := range s.Offset {
		if offset < 0 {
			p.Add(fmt.Sprintf("start.offset.%d", number), "must not be below 0, got %d", offset)
		}
	}
}

// String says it in words.
func (s *Start) String() string {
	switch {
	case s.latest:
		return "at the end of the topic"
	case s.Time != (Moment{}):
		return "at " + time.Time(s.Time).Format(time.RFC3339Nano)
	case len(s.Offset) > 0:
		return "at the offsets under start"
	default:
		return "with the earliest record"
	}
}

// Moment is a point in time, written 2026-01-01T00:00:00Z.
type Moment time.Time

// UnmarshalText reads a time with its zone.
func (m *Moment) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("want a time such as 2026-01-01T00:00:00Z or 2026-01-01T01:00:00+01:00, got %q", text)
	}
	*m = Moment(t)
	return nil
}

// MarshalText writes the time.
func (m Moment) MarshalText() ([]byte, error) { return time.Time(m).MarshalText() }

// Number is the number of a partition.
type Number int32

// UnmarshalText reads a partition's number.
func (n *Number) UnmarshalText(text []byte) error {
	v, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || v < 0 {
		return fmt.Errorf("want the number of a partition, 0 or more, got %q", text)
	}
	*n = Number(v)
	return nil
}

// chosen lists where partitions begin for which the group has no commit;
// none: with what is the earliest.
func (r *reader) chosen(ctx context.Context, ends kadm.ListedOffsets) (kadm.ListedOffsets, error) {
	switch start := &r.cfg.Start; {
	case start.latest:
		return ends, nil
	case start.Time != (Moment{}):
		return r.admin.ListOffsetsAfterMilli(ctx, time.Time(start.Time).UnixMilli(), r.cfg.Topic)
	default:
		return nil, nil
	}
}

// must says whether chosen has to know every partition: others take what one
// round brings.
func (s *Start) must() bool { return s.latest || s.Time != (Moment{}) }

// fresh decides where a partition begins that the group has no offset for.
func (r *reader) fresh(p *partition, start, end, chosen int64) kgo.Offset {
	at := start
	if r.cfg.Start.must() {
		at = chosen
	} else if wanted, ok := r.cfg.Start.Offset[Number(p.number)]; ok {
		at = wanted
		if start != unknown {
			at = max(at, start)
		}
		if end != unknown {
			at = min(at, end)
		}
		if at != wanted {
			r.log.Warn("the partition does not have the offset of start; reading it from the nearest one",
				"partition", p.number, "start", wanted, "offset", at)
		}
	}
	if at == unknown {
		return kgo.NewOffset().AtStart()
	}
	p.place(at)
	return kgo.NewOffset().At(at)
}
