package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Delivery says how sure the sink makes of its events, by their level. Each
// mode has a producer of its own: the order of a key holds only among events
// of one mode.
type Delivery struct {
	// Default is the mode of levels that are not listed, default async.
	Default Mode `yaml:"default"`
	// Levels are the modes of events of a level: {INFO: fire_and_forget,
	// ERROR: {acknowledged: 5s}}.
	Levels map[event.Level]Mode `yaml:"levels"`
}

// UnmarshalText reads the short form: one mode for all.
func (d *Delivery) UnmarshalText(text []byte) error { return d.Default.UnmarshalText(text) }

// Mode is one way of delivering. The zero Mode is async.
type Mode struct {
	// Acknowledged is the deadline by which Kafka must have acknowledged an
	// event, or the attempt has failed. Events do not linger.
	Acknowledged stage.Duration `yaml:"acknowledged"`

	forgets bool
}

// The short forms.
const (
	asyncMode  = "async"
	forgetMode = "fire_and_forget"
)

// UnmarshalText reads the short forms.
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case asyncMode:
		*m = Mode{}
	case forgetMode:
		*m = Mode{forgets: true}
	default:
		return fmt.Errorf("want async, fire_and_forget or {acknowledged: 5s}, got %q", text)
	}
	return nil
}

// String is the mode as a label of a metric.
func (m Mode) String() string {
	switch {
	case m.forgets:
		return forgetMode
	case m.Acknowledged > 0:
		return fmt.Sprintf("acknowledged_%v", m.Acknowledged)
	default:
		return asyncMode
	}
}

// modes are the different ones, in the order in which they are served: those
// with a deadline first, those that nobody waits for last.
func (d *Delivery) modes() []Mode {
	modes := []Mode{d.Default}
	for _, m := range d.Levels {
		if !slices.Contains(modes, m) {
			modes = append(modes, m)
		}
	}
	urgency := func(m Mode) time.Duration {
		switch {
		case m.forgets:
			return 1<<63 - 1
		case m.Acknowledged == 0:
			return 1<<63 - 2
		default:
			return m.Acknowledged.Std()
		}
	}
	slices.SortFunc(modes, func(a, b Mode) int { return int(min(max(urgency(a)-urgency(b), -1), 1)) })
	return modes
}

// byLevel is the index in modes of each level.
func (d *Delivery) byLevel(modes []Mode) (at [256]uint8) {
	for level := range at {
		m, ok := d.Levels[event.Level(level)]
		if !ok {
			m = d.Default
		}
		at[level] = uint8(slices.Index(modes, m))
	}
	return at
}

// levels names those that are delivered in a mode.
func (d *Delivery) levels(m Mode) string {
	var names []string
	for _, level := range slices.Sorted(maps.Keys(d.Levels)) {
		if d.Levels[level] == m {
			names = append(names, level.String())
		}
	}
	if d.Default == m && len(d.Levels) > 0 {
		names = append(names, "all other levels")
	}
	if d.Default == m && len(d.Levels) == 0 {
		return "all events"
	}
	return strings.Join(names, ", ")
}

func (c *Config) validateDelivery(p *stage.Problems) {
	check := func(key string, m Mode) {
		switch {
		case m.Acknowledged != 0 && m.Acknowledged.Std() < 100*time.Millisecond:
			p.Add(key+".acknowledged", "must be at least 100ms, got %v", m.Acknowledged)
		case m.Acknowledged != 0 && c.Acks == "none":
			p.Add(key+".acknowledged", "cannot be with acks: none, which asks for no acknowledgement; set acks: all")
		}
	}
	check("delivery.default", c.Delivery.Default)
	for level, m := range c.Delivery.Levels {
		check("delivery.levels."+level.String(), m)
	}
	if c.Delivery.Default.forgets {
		p.Warn("delivery.default", "fire_and_forget counts events as delivered that Kafka may never have received: they can be lost without a trace")
	}
}

// explainDelivery says what differs from what the default promises.
func (c *Config) explainDelivery(e *stage.Explanation) {
	for _, m := range c.Delivery.modes() {
		who := c.Delivery.levels(m)
		switch {
		case m.forgets:
			e.Does += fmt.Sprintf("; %s: fire and forget, at most once: counted as delivered when handed to the producer, and lost "+
				"without another try when Kafka does not get them", who)
			e.Crash += fmt.Sprintf("; %s that were still in the producer's buffer are lost", who)
			e.Away += fmt.Sprintf("; %s wait in the buffer for %v and are then lost, counted as lost_unacknowledged; "+
				"when the buffer is full, new ones wait", who, c.DeliveryTimeout)
		case m.Acknowledged > 0:
			e.Does += fmt.Sprintf("; %s: acknowledged within %v, or the attempt has failed and another follows", who, m.Acknowledged)
		}
	}
}
