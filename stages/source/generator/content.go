package generator

import (
	"fmt"
	"maps"
	"slices"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Content is what the events say. It starts from a template; messages, levels
// and sources replace the template's, fields are added to it.
type Content struct {
	// Template is where the content starts. Default service_logs: realistic messages of eight services with their sources, fields and the metadata thread_id, instance_id, request_id and user_id. "none" starts from nothing.
	Template string `yaml:"template"`
	// Messages are the texts to choose from, by weight. Default: the template's. A plain string is a message with weight 1.
	Messages []Message `yaml:"messages"`
	// Levels is how often each level occurs, as level name to weight. Default: {TRACE: 1, DEBUG: 14, INFO: 70, WARN: 10, ERROR: 4.5, FATAL: 0.5}, as far as there are messages for them.
	Levels map[string]float64 `yaml:"levels"`
	// Sources are the names of the services that messages without a source of their own come from. Default: the template's.
	Sources []string `yaml:"sources"`
	// Fields are values made for each event: metadata under their name, and {name} in messages. A plain word is a kind (uuid, ip, sequence, instance), or a range such as 1..500.
	Fields map[string]Field `yaml:"fields"`
	// Sessions is how events that belong together are interleaved. The events of a session share correlation_id, trace_id and the fields with session: true.
	Sessions Sessions `yaml:"sessions"`
	// Payload is the size of an additional text attribute "payload", such as 512 or 256..4KiB. Default 0: none.
	Payload Sizes `yaml:"payload"`
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
// range and hex says how.
type Field struct {
	// Kind is one of uuid, ip (an address in 10.0.0.0/8), sequence (the number of the event, from 1), instance (the name of this engine's process).
	Kind string `yaml:"kind"`
	// Choice is a list of texts that are equally likely.
	Choice []string `yaml:"choice"`
	// Weighted is a map of texts to their weights.
	Weighted map[string]float64 `yaml:"weighted"`
	// Range draws a number between two, both included, such as 1..500 or 0.50..99.99.
	Range Range `yaml:"range"`
	// Hex draws this many hexadecimal digits, at most 64.
	Hex int `yaml:"hex"`
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

var kinds = []string{"uuid", "ip", "sequence", "instance"}

// templates are the contents that a file can name, in its own vocabulary.
var templates = map[string]Content{
	"service_logs": serviceLogs,
	"none":         {},
}

// defaultLevels is the mix when a file says nothing: mostly routine, some
// worry, few failures.
var defaultLevels = map[string]float64{"TRACE": 1, "DEBUG": 14, "INFO": 70, "WARN": 10, "ERROR": 4.5, "FATAL": 0.5}

// onTemplate lays the content over its template.
func (c Content) onTemplate(p *stage.Problems) Content {
	base, ok := templates[c.Template]
	if !ok {
		p.OneOf("content.template", c.Template, "service_logs", "none")
		base = serviceLogs
	}
	if len(c.Messages) == 0 {
		c.Messages = base.Messages
	}
	if len(c.Sources) == 0 {
		c.Sources = base.Sources
	}
	fields := make(map[string]Field, len(base.Fields)+len(c.Fields))
	maps.Copy(fields, base.Fields)
	maps.Copy(fields, c.Fields)
	c.Fields = fields
	return c
}
