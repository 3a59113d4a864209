package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// jsonEvent is the form in which the engine writes events as JSON.
type jsonEvent struct {
	ID            uuid.UUID      `json:"id"`
	Timestamp     time.Time      `json:"timestamp"`
	Level         string         `json:"level"`
	Source        string         `json:"source"`
	Host          string         `json:"host"`
	Message       string         `json:"message"`
	Organisation  string         `json:"organisation"`
	CorrelationID string         `json:"correlation_id"`
	TraceID       string         `json:"trace_id"`
	SpanID        string         `json:"span_id"`
	StackTrace    string         `json:"stack_trace"`
	Metadata      map[string]any `json:"metadata"`
}

// DecodeJSON reads a record whose value is one JSON object, and nothing else.
func DecodeJSON(r *kgo.Record) (Event, error) {
	e := Event{Where: fmt.Sprintf("partition %d, offset %d", r.Partition, r.Offset)}
	var got jsonEvent
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		return e, fmt.Errorf("%s: %w in %.200q", e.Where, err, r.Value)
	}
	if _, err := d.Token(); err != io.EOF {
		return e, fmt.Errorf("%s: something is left behind the JSON object: %.200q", e.Where, r.Value)
	}
	e.ID, e.Time = got.ID, got.Timestamp
	e.Text = Text{got.Level, got.Source, got.Host, got.Message, got.Organisation, got.CorrelationID, got.TraceID, got.SpanID, got.StackTrace}
	for key, value := range got.Metadata {
		e.Attributes = append(e.Attributes, jsonAttribute(key, value))
	}
	e.normalise()
	return e, nil
}

func jsonAttribute(key string, value any) Attribute {
	n, ok := value.(json.Number)
	if !ok {
		return attribute(key, value)
	}
	if strings.ContainsAny(n.String(), ".eE") {
		if f, err := n.Float64(); err == nil {
			return Attribute{key, float(f), "float"}
		}
	}
	return Attribute{key, n.String(), "int"}
}
