package generator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Content is what the events say. It starts from a template; messages, levels
// and sources replace the template's, fields are added to it.
type Content struct {
	// Template is where the content starts: service_logs (realistic messages of eight services with their sources, fields and the metadata thread_id, instance_id, request_id and user_id), access_logs (lines of a web server in the combined format), or none. Default service_logs.
	Template string `yaml:"template"`
	// Format is how an event says it: event (in its fields), or as one line that is still to be parsed: json, logfmt, rfc5424, or text (the message alone). Default: the template's; event for service_logs and none, text for access_logs.
	Format string `yaml:"format"`
	// Avro is a file with an Avro schema (.avsc): each of its fields that is none of an event's own becomes metadata with random values of its type; fields and messages go on top of that. Default: none.
	Avro stage.Path `yaml:"avro"`
	// Messages are the texts to choose from, by weight. Default: the template's. A plain string is a message with weight 1.
	Messages []Message `yaml:"messages"`
	// Levels is how often each level occurs, as level name to weight. Default: {TRACE: 1, DEBUG: 14, INFO: 70, WARN: 10, ERROR: 4.5, FATAL: 0.5}, as far as there are messages for them.
	Levels map[string]float64 `yaml:"levels"`
	// Sources are the names of the services that messages without a source of their own come from. Default: the template's.
	Sources []string `yaml:"sources"`
	// SourceSkew makes some sources write more than others, by Zipf's law with this exponent: 1 is usual. The first source writes most. Default 0: none does.
	SourceSkew float64 `yaml:"source_skew"`
	// Organisations is whose events they are. Default: none is said.
	Organisations Organisations `yaml:"organisations"`
	// Fields are values made for each event: metadata under their name, and {name} in messages. A plain word is a kind (uuid, ip, bool, sequence, instance), or a range such as 1..500.
	Fields map[string]Field `yaml:"fields"`
	// Sessions is how events that belong together are interleaved. The events of a session share correlation_id, trace_id and the fields with session: true.
	Sessions Sessions `yaml:"sessions"`
	// Payload is an additional text "payload": its size, such as 512 or 256..4KiB, or a map with size, spread and weighted. Default 0: none.
	Payload Payload `yaml:"payload"`
	// ErrorBurst makes errors come in bursts. Default: none.
	ErrorBurst ErrorBurst `yaml:"error_burst"`
	// MalformedRatio is how many events are broken, such as 0.1%: lines are cut so that their parser refuses them, and messages of the format event hold bytes that are no text. Default 0%.
	MalformedRatio stage.Percent `yaml:"malformed_ratio"`
	// DuplicateRatio is how many events are the one before once more, with the same id, such as 1%; at most 25%. Default 0%.
	DuplicateRatio stage.Percent `yaml:"duplicate_ratio"`
	// LateRatio is how many events say that they happened earlier than they come, such as 2%. Default 0%.
	LateRatio stage.Percent `yaml:"late_ratio"`
	// LateBy is how much earlier at most. Default 1h.
	LateBy stage.Duration `yaml:"late_by"`
	// Phases are other values while the load is in the phase of this name.
	Phases map[string]Override `yaml:"phases"`
}

// Organisations is whose events they are. The events of a session are of the
// same one.
type Organisations struct {
	// Count is how many there are; they are called org-1, org-2 and so on. Default 0: none is said.
	Count int `yaml:"count"`
	// Skew makes some have more events than others, by Zipf's law with this exponent: 1 is usual. org-1 has most. Default 0: none has.
	Skew float64 `yaml:"skew"`
}

// ErrorBurst makes errors come in bursts, counted in events.
type ErrorBurst struct {
	// Every is how many events there are from the beginning of a burst to that of the next. Default 0: there are no bursts.
	Every int64 `yaml:"every"`
	// Length is how many events a burst has. Default: a tenth of every.
	Length int64 `yaml:"length"`
	// Share is how many of these are errors. Default 80%.
	Share *stage.Percent `yaml:"share"`
}

// Override is what a phase has otherwise. What is left out stays.
type Override struct {
	// Levels is how often each level occurs.
	Levels map[string]float64 `yaml:"levels"`
	// MalformedRatio is how many events are broken.
	MalformedRatio *stage.Percent `yaml:"malformed_ratio"`
	// DuplicateRatio is how many events are the one before once more.
	DuplicateRatio *stage.Percent `yaml:"duplicate_ratio"`
	// LateRatio is how many events say that they happened earlier.
	LateRatio *stage.Percent `yaml:"late_ratio"`
}

// Message is one text that events say.
type Message struct {
	// Text is the message; {name} stands for the value of a field, {{ and }} for braces.
	Text string `yaml:"text"`
	// Weight is how often the message occurs, compared with others of its level. Default 1, also for 0.
	Weight float64 `yaml:"weight"`
	// Level is the only level the message occurs at. Default: any.
	Level event.Level `yaml:"level"`
	// Source is the service that the message comes from. Default: any of sources.
	Source string `yaml:"source"`
}

// UnmarshalText reads a message that is only a text.
func (m *Message) UnmarshalText(text []byte) error {
	*m = Message{Text: string(text)}
	return nil
}

// Field is a value made for each event. Exactly one of kind, choice, weighted,
// range, zipf, hex, regex and ref says how.
type Field struct {
	// Kind is one of uuid, ip (an address in 10.0.0.0/8), bool, sequence (the number of the event, from 1), instance (the name of this engine's process).
	Kind string `yaml:"kind"`
	// Choice is a list of texts that are equally likely.
	Choice []string `yaml:"choice"`
	// Weighted is a map of texts to their weights.
	Weighted map[string]float64 `yaml:"weighted"`
	// Range draws a number between two, both included, such as 1..500 or 0.50..99.99.
	Range Range `yaml:"range"`
	// Zipf draws a whole number between two, such as 1..50000, by Zipf's law: the first is the most frequent, and most are rare.
	Zipf Range `yaml:"zipf"`
	// Exponent is how steep zipf is, from 0 to 10. Default 1.
	Exponent float64 `yaml:"exponent"`
	// Hex draws this many hexadecimal digits, at most 64.
	Hex int `yaml:"hex"`
	// Regex makes texts that match a regular expression, such as '[A-Z]{2}-\d{4}'.
	Regex string `yaml:"regex"`
	// Ref is the name of another field, whose value this one repeats.
	Ref string `yaml:"ref"`
	// Prefix is put before the value, which makes it a text.
	Prefix string `yaml:"prefix"`
	// Session makes one value for all events of a session. A sequence then counts sessions. Default false.
	Session bool `yaml:"session"`
	// MessageOnly keeps the value out of the metadata. Default false.
	MessageOnly bool `yaml:"message_only"`
}

// UnmarshalText reads the short form of a field: a kind or a range.
func (f *Field) UnmarshalText(text []byte) error {
	if kind := string(text); slices.Contains(kinds, kind) {
		*f = Field{Kind: kind}
		return nil
	}
	var r Range
	if err := r.UnmarshalText(text); err != nil {
		return fmt.Errorf("want one of %v, or a range such as 1..500, got %q", kinds, text)
	}
	*f = Field{Range: r}
	return nil
}

var kinds = []string{"uuid", "ip", "bool", "sequence", "instance"}

// templates are the contents that a file can name, in its own vocabulary.
var templates = map[string]Content{
	"service_logs": serviceLogs,
	"access_logs":  accessLogs,
	"none":         {},
}

// defaultLevels is the mix when a file says nothing: mostly routine, some
// worry, few failures.
var defaultLevels = map[string]float64{"TRACE": 1, "DEBUG": 14, "INFO": 70, "WARN": 10, "ERROR": 4.5, "FATAL": 0.5}

// onTemplate lays the content over its template.
func (c Content) onTemplate(p *stage.Problems) Content {
	base, ok := templates[c.Template]
	if !ok {
		p.OneOf("content.template", c.Template, "service_logs", "access_logs", "none")
		base = serviceLogs
	}
	if len(c.Messages) == 0 {
		c.Messages = base.Messages
	}
	if len(c.Sources) == 0 {
		c.Sources = base.Sources
	}
	if len(c.Levels) == 0 {
		c.Levels = base.Levels
	}
	c.Format = cmp.Or(c.Format, base.Format, formatEvent)
	fields := make(map[string]Field, len(base.Fields)+len(c.Fields))
	maps.Copy(fields, base.Fields)
	maps.Copy(fields, c.Fields)
	c.Fields = fields
	return c
}
