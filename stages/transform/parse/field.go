package parse

import (
	"fmt"
	"strings"
)

// target is the place of a found value.
type target uint8

const (
	toAttribute target = iota
	toNowhere
	toMetadata // an object whose entries are attributes
	toTime
	toLevel
	toID
	toMessage // the first of those that hold text
	toSource
	toHost
	toCorrelationID
	toTraceID
	toSpanID
	toOrganisation
	toStackTrace
	targets
)

// texts is how many targets hold text.
const texts = int(targets - toMessage)

const attributePrefix = "attributes."

var targetNames = map[string]target{
	"time": toTime, "level": toLevel, "id": toID, "message": toMessage, "source": toSource, "host": toHost,
	"correlation_id": toCorrelationID, "trace_id": toTraceID, "span_id": toSpanID, "organisation": toOrganisation, "stack_trace": toStackTrace,
}

// names are the found names that mean a field of the event. An id is taken
// only under a name that says whose it is: two lines about user 5 with id=5
// are not the same event.
var names = map[string]target{
	"event_id": toID, "eventId": toID,
	"time": toTime, "timestamp": toTime, "@timestamp": toTime, "ts": toTime, "datetime": toTime, "asctime": toTime,
	"level": toLevel, "lvl": toLevel, "severity": toLevel, "loglevel": toLevel, "log_level": toLevel, "log.level": toLevel,
	"levelname": toLevel, "severity_text": toLevel,
	"message": toMessage, "msg": toMessage,
	"source": toSource, "service": toSource, "service_name": toSource, "service.name": toSource, "app": toSource,
	"application": toSource, "program": toSource,
	"host": toHost, "hostname": toHost, "host.name": toHost,
	"correlation_id": toCorrelationID, "correlationId": toCorrelationID,
	"trace_id": toTraceID, "traceId": toTraceID, "trace.id": toTraceID, "traceID": toTraceID,
	"span_id": toSpanID, "spanId": toSpanID, "span.id": toSpanID, "spanID": toSpanID,
	"organisation": toOrganisation, "organization": toOrganisation, "organisation_id": toOrganisation, "organization_id": toOrganisation,
	"organisationId": toOrganisation, "organizationId": toOrganisation,
	"stack_trace": toStackTrace, "stackTrace": toStackTrace, "stacktrace": toStackTrace,
	"metadata": toMetadata, "attributes": toMetadata,
}

// valueType is what a value is made into.
type valueType uint8

const (
	asFound valueType = iota
	asString
	asInt
	asFloat
	asBool
)

var typeNames = map[string]valueType{"string": asString, "int": asInt, "float": asFloat, "bool": asBool}

// field is what happens to the values of one found name.
type field struct {
	name string // as found
	to   target
	key  string // of the attribute
	as   valueType
}

// targetOf reads where a value should go.
func targetOf(text string) (field, error) {
	if text == "" {
		return field{to: toNowhere}, nil
	}
	if to, ok := targetNames[text]; ok {
		return field{to: to}, nil
	}
	key, ok := strings.CutPrefix(text, attributePrefix)
	if !ok || key == "" {
		return field{}, fmt.Errorf("must be a field of an event, such as host, or attributes.NAME, got %q", text)
	}
	return field{key: key}, nil
}

// directory finds the field of a name.
type directory map[string]*field

// newDirectory joins what is known of names with what the file says.
func newDirectory(c *Config) directory {
	d := make(directory, len(names))
	for name, to := range names {
		d[name] = &field{name: name, to: to, key: name}
	}
	for name, text := range c.Fields {
		f, _ := targetOf(text) // validated
		f.name = name
		d[name] = &f
	}
	for name, text := range c.Types {
		d.get(name).as = typeNames[text]
	}
	return d
}

// get is the field of a name that a format knows, made where there is none.
func (d directory) get(name string) *field {
	f := d[name]
	if f == nil {
		f = &field{name: name, key: name}
		d[name] = f
	}
	return f
}

// own is like get for a name that a format gives a meaning, unless the file
// says another.
func (d directory) own(name string, to target, c *Config) *field {
	f := *d.get(name)
	if _, ok := c.Fields[name]; !ok {
		f.to, f.key = to, name
	}
	return &f
}
