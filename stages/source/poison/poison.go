// Package poison reads the events that a poison queue has stored, so that a re-drive is a pipeline.
//
// Transforms mend what was wrong with them, and its sink gets them.
//
// Each event is made again of the bytes that were received, with its id, key
// and origin, and with what its source gave it beside the bytes or in their
// place: the organisation of a header, the file of a line. An entry is taken
// out of the store when its event is settled: an end in between loses nothing,
// and repeats under the same id. An event that fails again is stored by the
// poison queue of this route, its count raised, and its old entry goes; one
// that was replayed too often stays where it is, and so does one that a limit sheds.
//
// The store is read by stages/internal/poison/reader.go; the poison queue
// writes with the same package.
package poison

import (
	"context"
	"embed"
	"fmt"

	"millrace/engine/expression"
	"millrace/engine/stage"
	"millrace/stages/internal/poison"
	"millrace/stages/internal/poison/connect"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "poison", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{Codec: poison.CodecAuto, MaxReplays: 3}
}}

// Config is what a pipeline file says about a poison source.
type Config struct {
	// Topic is the Kafka topic that bad events are stored in. Its producers are
	// trusted: an event becomes what the headers of its record say, with any id,
	// organisation, source, level and attributes, so give the right to write
	// there to Millrace alone. Default: none, those in this pipeline's state
	// directory are read.
	Topic string `yaml:"topic"`
	// Resource is the Kafka cluster that the topic is in, and whose schema
	// registry is asked about Avro. Default: the only one.
	Resource stage.Ref `yaml:"resource" resource:"kafka,optional"`
	// Table is the SQL table that bad events are stored in, instead of a
	// topic. Default: none.
	Table string `yaml:"table"`
	// Database is the SQL database that the table is in. Default: the only one.
	Database stage.Ref `yaml:"database" resource:"sql,optional"`
	// Pipeline reads only what this pipeline stored. Default: all.
	Pipeline string `yaml:"pipeline"`
	// Route reads only what this route stored. Default: all.
	Route string `yaml:"route"`
	// When reads only the events for which this says yes. Beside the event's
	// own fields there are attributes.dlq_reason, dlq_class, dlq_stage,
	// dlq_route, dlq_attempts and dlq_replays. Default: all.
	When expression.Condition `yaml:"when"`
	// OlderThan reads only what failed last so long ago. Default 0s: all.
	OlderThan stage.Duration `yaml:"older_than"`
	// Codec reads bytes that do not begin with the schema registry's frame:
	// `json`, `raw` (they become the message), or `auto` (default): as JSON
	// when they came from Kafka or HTTP, unless they were read as text there.
	Codec string `yaml:"codec"`
	// MaxReplays leaves events alone that were replayed so often and came
	// back. Default 3.
	MaxReplays int `yaml:"max_replays"`
	// Rate is how many events per second are read. Default 0/s: no bound.
	Rate stage.Rate `yaml:"rate"`
	// Follow goes on at the end and reads what is stored later. Default false:
	// the route ends with what is there.
	Follow bool `yaml:"follow"`
}

func (c *Config) place() poison.Place {
	p := poison.Place{Pipeline: c.Pipeline, Route: c.Route, Topic: c.Topic, Cluster: string(c.Resource), Table: c.Table}
	if c.Table != "" {
		p.Database = string(c.Database)
	}
	return p
}

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	c.place().Validate(p)
	p.OneOf("codec", c.Codec, poison.CodecAuto, poison.CodecJSON, poison.CodecRaw)
	if c.MaxReplays < 1 {
		p.Add("max_replays", "must be at least 1, got %d", c.MaxReplays)
	}
	if c.Rate < 0 {
		p.Add("rate", "must not be below 0/s, got %v", c.Rate)
	}
	if c.OlderThan < 0 {
		p.Add("older_than", "must not be below 0s, got %v", c.OlderThan)
	}
}

// Links says where bad events are read.
func (c *Config) Links() []stage.Link { return []stage.Link{{What: c.place().Link()}} }

// Place says that events stay in the queue until they are settled.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	where, trust := c.place().String(), ""
	if c.Topic != "" {
		trust = "; what a record's headers say of its event (id, organisation, source, level, attributes) is believed: only Millrace should have the right to write there"
	}
	return stage.Explanation{
		Does: fmt.Sprintf("reads bad events from %s, as they were received; one is taken out of there when it is settled here, "+
			"and left there when it was replayed %d times already, or a limit shed it", where, c.MaxReplays) + trust,
		Crash: "events that were settled and not yet taken out are read again, with the same ids; none is lost",
		Away:  "waits; events stay in " + where,
	}
}

// Open begins to read.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	place := c.place()
	outside, err := connect.Services(place, s)
	if err != nil {
		return nil, err
	}
	store, err := poison.Open(ctx, place, outside, poison.Options{Peek: !c.Follow})
	if err != nil {
		return nil, err
	}
	reading := poison.Reading{
		Pick:  poison.Pick{OlderThan: c.OlderThan.Std(), MaxReplays: c.MaxReplays, Rate: float64(c.Rate)},
		Codec: c.Codec, Follow: c.Follow, Filter: c.When.String(),
		By: fmt.Sprintf("pipeline %s on %s", s.Pipeline, s.Instance), To: "route " + s.Route,
	}
	if !c.When.IsZero() {
		reading.Match = c.When.Match
	}
	return &reader{poison.NewReader(store, outside, reading), s}, nil
}

// reader tells at the end what was left.
type reader struct {
	*poison.Reader
	settings stage.Settings
}

// Close ends reading. All parcels are settled by then.
func (r *reader) Close(ctx context.Context) error {
	err := r.Reader.Close(ctx)
	if report := r.Report(); report.Skipped+report.Undecided+report.Left > 0 {
		r.settings.Log.Warn("bad events are left in their store", "replayed_too_often", report.Skipped,
			"undecided", report.Undecided, "given_back", report.Left)
	}
	return err
}

// Status tells how many events were handed out, as "replayed", and how many
// were left for having been replayed too often, as "skipped".
func (r *reader) Status() map[string]any {
	report := r.Reader.Report()
	return map[string]any{"replayed": report.Selected, "skipped": report.Skipped}
}
