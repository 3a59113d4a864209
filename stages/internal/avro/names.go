package avro

import (
	"strings"

	"millrace/engine/event"
)

// place is where in an event a field of a schema belongs.
type place uint8

const (
	inAttribute place = iota // an attribute named as the field
	inID
	inTime
	inLevel
	inMap // the attributes as a whole
	inSource
	inHost
	inMessage
	inCorrelationID
	inTraceID
	inSpanID
	inOrganisation
	inStackTrace
)

var places = map[string]place{
	"id": inID, "eventid": inID,
	"time": inTime, "timestamp": inTime,
	"level": inLevel, "severity": inLevel,
	"metadata": inMap, "attributes": inMap,
	"source": inSource, "host": inHost, "hostname": inHost, "message": inMessage,
	"correlationid": inCorrelationID, "traceid": inTraceID, "spanid": inSpanID,
	"organisation": inOrganisation, "organization": inOrganisation,
	"organisationid": inOrganisation, "organizationid": inOrganisation,
	"stacktrace": inStackTrace,
}

// placeOf finds the place of a field by its name in any usual spelling.
func placeOf(name string) place {
	return places[strings.ToLower(strings.ReplaceAll(name, "_", ""))]
}

// text is the event's string for a place from inSource on.
func text(e *event.Event, p place) *string {
	switch p {
	case inSource:
		return &e.Source
	case inHost:
		return &e.Host
	case inMessage:
		return &e.Message
	case inCorrelationID:
		return &e.CorrelationID
	case inTraceID:
		return &e.TraceID
	case inSpanID:
		return &e.SpanID
	case inOrganisation:
		return &e.Organisation
	default:
		return &e.StackTrace
	}
}
