// Package enrich completes events: fields that were left empty are filled,
// attributes that are the same for all are set.
//
// Everything it does gives the same result when it is done again, and when the
// event is read again after a crash: a correlation id is made from the event's
// id, not invented.
package enrich

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/roomy"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "enrich", Kind: stage.KindTransform, Files: files, New: func() any { return &Config{} }}

// Config is what a pipeline file says about an enrich.
type Config struct {
	// Attributes to set on every event, as text, such as {team: payments}. An
	// attribute that the event has is replaced. Default none.
	Set map[string]string `yaml:"set"`
	// Value of the attribute environment, such as staging. Default: not set.
	Environment string `yaml:"environment"`
	// Fill in this machine's host name where the event has none. Default false.
	Host bool `yaml:"host"`
	// Fill in the event's id as correlation id where it has none. Default false.
	CorrelationID bool `yaml:"correlation_id"`
	// Fill in the time at which the event was due at the pipeline, or else the
	// time now, where it has none. Default false.
	Time bool `yaml:"time"`
}

const environment = "environment"

// Validate asks for something to do.
func (c *Config) Validate(p *stage.Problems) {
	if len(c.Set) == 0 && c.Environment == "" && !c.Host && !c.CorrelationID && !c.Time {
		p.Add("", "has nothing to do; give it set, environment, host, correlation_id or time")
	}
	if _, ok := c.Set[""]; ok {
		p.Add("set", "must not have an empty key")
	}
	if _, ok := c.Set[environment]; ok && c.Environment != "" {
		p.Add("environment", "is also set by set.environment; keep one")
	}
}

// Open finds out the host's name.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Applier, error) {
	e := &enricher{correlation: c.CorrelationID, time: c.Time, clock: s.Clock, set: c.attributes()}
	if c.Host {
		host, err := os.Hostname()
		if err != nil {
			return nil, stage.Fatal(fmt.Errorf("finding this machine's name for host: true: %w", err))
		}
		e.host = host
	}
	return e, nil
}

// attributes are the ones to set, in an order that is always the same.
func (c *Config) attributes() []event.Attribute {
	var set []event.Attribute
	if c.Environment != "" {
		set = append(set, event.Attribute{Key: environment, Value: event.String(c.Environment)})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Set)) {
		set = append(set, event.Attribute{Key: key, Value: event.String(c.Set[key])})
	}
	return set
}

type enricher struct {
	set         []event.Attribute
	host        string
	correlation bool
	time        bool
	clock       stage.Clock
}

// Apply completes the events.
func (c *enricher) Apply(_ context.Context, b *event.Batch) error {
	var now time.Time
	if c.time {
		now = c.clock.Now().UTC()
	}
	var room roomy.Room
	left := b.Count(event.Open)
	for _, e := range b.Open() {
		if e.Host == "" {
			e.Host = c.host
		}
		if c.time && e.Time.IsZero() {
			e.Time = arrival(e, now)
		}
		room.Make(e, len(c.set), left)
		left--
		for _, a := range c.set {
			e.SetAttribute(a.Key, a.Value)
		}
	}
	if c.correlation {
		correlate(b)
	}
	return nil
}

func (c *enricher) Close(context.Context) error { return nil }

func arrival(e *event.Event, now time.Time) time.Time {
	if e.Due != 0 {
		return time.Unix(0, e.Due).UTC()
	}
	return now
}

// correlate writes the correlation ids of all events that need one into one
// piece of memory.
func correlate(b *event.Batch) {
	var ids []byte
	for _, e := range b.Open() {
		if needsCorrelation(e) {
			if ids == nil {
				ids = make([]byte, 0, b.Len()*idLength)
			}
			ids = appendID(ids, e.ID)
		}
	}
	all := string(ids)
	for _, e := range b.Open() {
		if needsCorrelation(e) {
			e.CorrelationID, all = all[:idLength], all[idLength:]
		}
	}
}

func needsCorrelation(e *event.Event) bool { return e.CorrelationID == "" && e.ID != uuid.Nil }

const idLength = 36

func appendID(buf []byte, id uuid.UUID) []byte {
	const digits = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			buf = append(buf, '-')
		}
		buf = append(buf, digits[b>>4], digits[b&0xf])
	}
	return buf
}
