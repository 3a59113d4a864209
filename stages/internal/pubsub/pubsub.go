// Package pubsub joins Watermill Pub/Subs, in which each message is an event
// of its own, with routes, in which a message is a batch.
//
// Coalesce (Reader) hands each message out as a parcel of one event; the
// engine makes batches of them, and the message is acked when its own event is
// settled, nacked when it is given back. Explode (Writer) publishes the events
// of a batch one by one and tells of each what became of it.
//
// There are two Pub/Subs here that need nothing else: Channel is Watermill's
// GoChannel, made safe for what a route promises; Kafka reads and writes topics
// as watermill-kafka does, message for message.
package pubsub

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
	"millrace/stages/internal/poison"
)

// Codec says how the payload of a message and an event become each other.
type Codec string

// The codecs.
const (
	// JSON is the event as JSON; metadata becomes attributes where the payload
	// has none of that name.
	JSON Codec = "json"
	// Raw is the message as it is: the payload is the event's message, the
	// metadata its attributes, the UUID its id. What is read so and written so
	// is the same. Of either codec, metadata poison.ReplayHeader is the event's
	// count of replays, and no attribute of that name is written.
	Raw Codec = "raw"
)

// CorrelationKey is the metadata in which Watermill's own middleware keeps the
// correlation id.
const CorrelationKey = "correlation_id"

// UUIDHeader is where watermill-kafka keeps a message's UUID. It cannot be a
// name of metadata.
const UUIDHeader = "_watermill_message_uuid"

// Decode reads a message into the event. Strings of the event point into the
// payload, which nobody may write to any more. The error says why the message
// is no event; id and Raw are set all the same.
func (c Codec) Decode(msg *message.Message, e *event.Event) error {
	var err error
	text := unsafe.String(unsafe.SliceData(msg.Payload), len(msg.Payload))
	if c == Raw {
		e.Message = text
	} else if err = eventjson.DecodeString(text, e); err != nil {
		*e = event.Event{}
		err = stage.Bad(fmt.Errorf("message %s: %w", msg.UUID, err))
	}
	e.Raw = msg.Payload
	identify(msg.UUID, e)
	takeMetadata(msg.Metadata, e)
	return err
}

// identify gives an event without an id the message's.
func identify(text string, e *event.Event) {
	if e.ID != uuid.Nil || text == "" {
		return
	}
	if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
		e.ID = id
		return
	}
	e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(text))
	e.SetAttribute(eventjson.OriginalID, event.String(text))
}

// takeMetadata makes attributes of metadata, in the order of their names.
func takeMetadata(metadata message.Metadata, e *event.Event) {
	names := make([]string, 0, len(metadata))
	for name := range metadata {
		names = append(names, name)
	}
	slices.Sort(names)
	if count, there := metadata[poison.ReplayHeader]; there {
		poison.ReadReplays(e, count)
	}
	var index event.Names
	for _, name := range names {
		if name == poison.ReplayHeader {
			continue
		}
		if name == CorrelationKey && (e.CorrelationID == "" || e.CorrelationID == metadata[name]) {
			e.CorrelationID = metadata[name]
			continue
		}
		if !index.Has(e, name) {
			index.Set(e, name, event.String(metadata[name]))
		}
	}
}

// Encode makes a message of an event. It shares no memory with it.
func (c Codec) Encode(e *event.Event) (*message.Message, error) {
	id := e.ID.String()
	if original, ok := e.Attribute(eventjson.OriginalID); ok {
		id = strings.Clone(original.String())
	}
	if c != Raw {
		msg := message.NewMessage(id, eventjson.Append(make([]byte, 0, e.Size()+128), e))
		setCorrelation(msg, e)
		setReplays(msg, e)
		return msg, nil
	}
	msg := message.NewMessage(id, []byte(e.Message))
	for i := range e.Attributes {
		switch key := e.Attributes[i].Key; key {
		case eventjson.OriginalID, poison.ReplayHeader: // the second is set below, and by nobody else
		case UUIDHeader:
			return nil, stage.Bad(fmt.Errorf("attribute %s: Watermill keeps the message's UUID under this name; remove or rename it", UUIDHeader))
		default:
			msg.Metadata.Set(strings.Clone(key), strings.Clone(e.Attributes[i].Value.String()))
		}
	}
	setCorrelation(msg, e)
	setReplays(msg, e)
	return msg, nil
}

// setReplays lets what goes round by a topic come to an end: who reads the
// message knows how often a replay has brought it.
func setReplays(msg *message.Message, e *event.Event) {
	if e.Replays > 0 {
		msg.Metadata.Set(poison.ReplayHeader, strconv.Itoa(int(e.Replays)))
	}
}

func setCorrelation(msg *message.Message, e *event.Event) {
	if e.CorrelationID != "" {
		msg.Metadata.Set(CorrelationKey, strings.Clone(e.CorrelationID))
	}
}

// Logger lets a Pub/Sub of Watermill write to a route's log, one level
// quieter: what it calls information is for who looks for a fault.
func Logger(log *slog.Logger) watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: slog.LevelDebug - 4,
	})
}
