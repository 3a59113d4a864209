// Package parse reads the text of events: it finds the fields in a log line
// and puts them where an event has a place for them.
//
// What a format finds are names with values, such as level=warn user=u7. A
// name that means one of an event's own fields goes there (the table is in
// field.go), anything else becomes an attribute, as whole number, float,
// boolean or text. A found message takes the place of the line; where a format
// knows of none, such as an access log, the message stays the whole line.
//
//	json              one object; attributes and metadata objects are opened, other nested ones kept as JSON text
//	logfmt            key=value key="quoted text" flag
//	regex, grok       what the named parts of `pattern` match
//	apache, nginx     access logs (common and combined, with an optional last "forwarded for") and error logs
//	syslog            RFC 5424 or RFC 3164, told apart by the version; also lines of files, without <priority>
//
// Access logs give client, user, method, path, protocol, status, bytes,
// referer, user_agent and forwarded_for; their level follows the status: 5xx
// ERROR, 4xx WARN, others INFO. Escapes in them stay as the server wrote them.
//
// An event is changed only when its whole text has been understood. Fields
// point into the line, so that a batch costs a few pieces of memory and not
// one for each field.
package parse

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "parse", Kind: stage.KindTransform, Files: files, New: func() any {
	return &Config{From: fromMessage, TimeZone: "UTC", OnFailure: failPoison}
}}

// Config is what a pipeline file says about a parse.
type Config struct {
	// What the text looks like: json, logfmt, regex, grok, apache, nginx, syslog,
	// syslog_rfc3164 or syslog_rfc5424; of a list, such as [json, logfmt], the
	// first that fits is taken. Needed.
	Format Formats `yaml:"format"`
	// Where the text is: message, raw (the bytes as received) or attributes.NAME.
	// Where there is no message, message means raw. Default message.
	From string `yaml:"from"`
	// What regex and grok look for, such as '^(?P<level>\w+): (?P<message>.*)' or
	// '%{LOGLEVEL:level} %{GREEDYDATA:message}'; %{NUMBER:took:float} names a
	// type. It may match anywhere in the text unless it begins with ^. Default none.
	Pattern string `yaml:"pattern"`
	// More patterns for grok, by name, such as {ORDER: 'o-[0-9]+'}. The common
	// ones, such as IPORHOST and COMBINEDAPACHELOG, are there. Default none.
	Patterns map[string]string `yaml:"patterns"`
	// Where found names go, such as {client: host, took: attributes.duration};
	// "" leaves one out. Targets: the fields of an event (time, level, id,
	// source, host, message, correlation_id, trace_id, span_id, organisation,
	// stack_trace) or attributes.NAME. Default: by name.
	Fields map[string]string `yaml:"fields"`
	// Types of found names, such as {version: string, took: float}: string, int,
	// float or bool. A value that is none makes the event a failure. Default:
	// what the value looks like; a number with a leading zero is text.
	Types map[string]string `yaml:"types"`
	// How times are written in json, logfmt, regex and grok, as Go writes them
	// (02/Jan/2006:15:04:05 -0700), or unix, unix_ms, unix_us or unix_ns. Default:
	// the usual forms are known, the unit of numbers by their size.
	TimeFormat string `yaml:"time_format"`
	// Zone of times that name none, such as Europe/Berlin. Times without a year
	// are in the latest year that puts them no more than a day after the arrival
	// of the event. Default UTC.
	TimeZone string `yaml:"time_zone"`
	// What happens to an event whose text has another form: poison (it goes to
	// the poison queue), tag (it goes on unchanged but for the attribute
	// parse_error) or keep (it goes on unchanged). Default poison.
	OnFailure string `yaml:"on_failure"`
}

const (
	fromMessage = "message"
	fromRaw     = "raw"

	failPoison = "poison"
	failTag    = "tag"
	failKeep   = "keep"
)

// Formats is one format, or a list of them to be tried in order.
type Formats []string

// UnmarshalText reads a single format.
func (f *Formats) UnmarshalText(text []byte) error {
	*f = Formats{string(text)}
	return nil
}

// Validate looks at every key.
func (c *Config) Validate(p *stage.Problems) {
	c.validateFormat(p)
	if name, ok := strings.CutPrefix(c.From, attributePrefix); c.From != fromMessage && c.From != fromRaw && (!ok || name == "") {
		p.Add("from", "must be message, raw or attributes.NAME, got %q", c.From)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		if _, err := targetOf(c.Fields[name]); err != nil {
			p.Add("fields."+name, "%v", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Types)) {
		if _, ok := typeNames[c.Types[name]]; !ok {
			p.Add("types."+name, "must be string, int, float or bool, got %q", c.Types[name])
		}
	}
	if c.TimeFormat != "" && !goodLayout(c.TimeFormat) {
		p.Add("time_format", "must be unix, unix_ms, unix_us, unix_ns or written like 2006-01-02 15:04:05, got %q", c.TimeFormat)
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil {
		p.Add("time_zone", "must be a zone such as UTC or Europe/Berlin, got %q", c.TimeZone)
	}
	p.OneOf("on_failure", c.OnFailure, failPoison, failTag, failKeep)
}

func (c *Config) validateFormat(p *stage.Problems) {
	if len(c.Format) == 0 {
		p.Add("format", "is required: it must be one of %v", formatNames())
	}
	seen := map[string]bool{}
	for i, name := range c.Format {
		key := "format"
		if len(c.Format) > 1 {
			key = fmt.Sprintf("format.%d", i)
		}
		if p.OneOf(key, name, formatNames()...); seen[name] {
			p.Add(key, "%s stands in the list twice", name)
		}
		seen[name] = true
	}
	patterned := seen["regex"] || seen["grok"]
	switch {
	case seen["regex"] && seen["grok"]:
		p.Add("format", "holds regex and grok, but there is only one pattern; use two parse stages, the first with on_failure: keep")
	case patterned && c.Pattern == "":
		p.Add("pattern", "is required: regex and grok need one")
	case patterned:
		if _, err := c.compile(seen["grok"]); err != nil {
			p.Add("pattern", "%v", err)
		}
	case c.Pattern != "" && len(seen) > 0:
		p.Add("pattern", "is used by regex and grok only, format is %s", strings.Join(c.Format, ", "))
	}
	if c.TimeFormat != "" && !patterned && !seen["json"] && !seen["logfmt"] && len(seen) > 0 {
		p.Add("time_format", "is used by json, logfmt, regex and grok only: %s says itself how times are written", strings.Join(c.Format, ", "))
	}
	if len(c.Patterns) > 0 && !seen["grok"] {
		p.Add("patterns", "is used by grok only")
	}
}

// compile makes the pattern of regex or grok.
func (c *Config) compile(isGrok bool) (*pattern, error) {
	if isGrok {
		return compileGrok(c.Pattern, c.Patterns)
	}
	return compileRegex(c.Pattern)
}

// Explain says what becomes of text in another form.
func (c *Config) Explain() stage.Explanation {
	form := strings.Join(c.Format, " or ")
	switch c.OnFailure {
	case failTag:
		return stage.Explanation{Does: "events that are not " + form + " go on unchanged, with the reason in the attribute " + errorKey}
	case failKeep:
		return stage.Explanation{Does: "events that are not " + form + " go on unchanged"}
	default:
		return stage.Explanation{Does: "events that are not " + form + " are bad events, with their original bytes"}
	}
}

// Open prepares the formats.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Applier, error) {
	return newParser(c, s)
}
