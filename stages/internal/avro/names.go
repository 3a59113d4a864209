package avro

import (
	"strings"
	"unsafe"

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

// offsets say where in an Event the strings are, by place: one addition finds
// them, where a switch would cost as much as writing a short string.
var offsets = [...]uintptr{
	inSource:        unsafe.Offsetof(event.Event{}.Source),
	inHost:          unsafe.Offsetof(event.Event{}.Host),
	inMessage:       unsafe.Offsetof(event.Event{}.Message),
	inCorrelationID: unsafe.Offsetof(event.Event{}.CorrelationID),
	inTraceID:       unsafe.Offsetof(event.Event{}.TraceID),
	inSpanID:        unsafe.Offsetof(event.Event{}.SpanID),
	inOrganisation:  unsafe.Offsetof(event.Event{}.Organisation),
	inStackTrace:    unsafe.Offsetof(event.Event{}.StackTrace),
}

// text is the event's string for a place from inSource on.
func text(e *event.Event, p place) *string {
	return (*string)(unsafe.Add(unsafe.Pointer(e), offsets[p]))
}
