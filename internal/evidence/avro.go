package evidence

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/engineproc"
)

// Schema is a schema of a registry, and reads the records that carry its id.
type Schema struct {
	ID     int
	schema hamba.Schema
}

// FetchSchema asks a registry for the newest schema of a topic's values, and
// waits until there is one.
func FetchSchema(t testing.TB, registry, topic string) *Schema {
	t.Helper()
	var body string
	engineproc.Eventually(t, patience, "the registry has a schema of "+topic, func() bool {
		var status int
		status, body = engineproc.Get(registry + "/subjects/" + topic + "-value/versions/latest")
		return status == http.StatusOK
	})
	var found struct {
		ID     int
		Schema string
	}
	if err := json.Unmarshal([]byte(body), &found); err != nil {
		t.Fatalf("registry: %v in %s", err, body)
	}
	return parse(t, topic, found.ID, found.Schema)
}

// LeftSchema is the newest schema of a topic's values in what an engine that has
// ended kept of its embedded registry below its state directory.
func LeftSchema(t testing.TB, state, topic string) *Schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(state, "kafka", "registry.json"))
	var kept struct {
		Schemas  []string         // the one with id n is entry n-1
		Subjects map[string][]int // ids, the newest last
	}
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	ids := kept.Subjects[topic+"-value"]
	if err != nil || len(ids) == 0 {
		t.Fatalf("the embedded registry of %s has no schema of %s: %v", state, topic, err)
	}
	id := ids[len(ids)-1]
	return parse(t, topic, id, kept.Schemas[id-1])
}

func parse(t testing.TB, topic string, id int, text string) *Schema {
	t.Helper()
	schema, err := hamba.Parse(text)
	if err != nil {
		t.Fatalf("the registry's schema of %s: %v", topic, err)
	}
	return &Schema{id, schema}
}

// logEvent is the record of schemas/log_event.avsc.
type logEvent struct {
	ID            [16]byte       `avro:"id"`
	Timestamp     time.Time      `avro:"timestamp"`
	Level         string         `avro:"level"`
	Source        string         `avro:"source"`
	Host          string         `avro:"host"`
	Message       string         `avro:"message"`
	Organisation  *string        `avro:"organisation"`
	CorrelationID *string        `avro:"correlation_id"`
	TraceID       *string        `avro:"trace_id"`
	SpanID        *string        `avro:"span_id"`
	StackTrace    *string        `avro:"stack_trace"`
	Metadata      map[string]any `avro:"metadata"`
}

// Decode reads a record: the registry's frame with the id of this schema, the
// Avro value, and nothing after it.
func (s *Schema) Decode(r *kgo.Record) (Event, error) {
	e := Event{Where: fmt.Sprintf("partition %d, offset %d", r.Partition, r.Offset)}
	if len(r.Value) < 5 || r.Value[0] != 0 || int(binary.BigEndian.Uint32(r.Value[1:5])) != s.ID {
		return e, fmt.Errorf("%s: the value does not begin with 0 and schema id %d: %.10x", e.Where, s.ID, r.Value)
	}
	var got logEvent
	reader := hamba.NewReader(nil, 0).Reset(r.Value[5:])
	reader.ReadVal(s.schema, &got)
	if reader.Error != nil {
		return e, fmt.Errorf("%s: hamba: %w", e.Where, reader.Error)
	}
	if reader.Peek(); !errors.Is(reader.Error, io.EOF) {
		return e, fmt.Errorf("%s: bytes are left behind the Avro value", e.Where)
	}
	e.ID, e.Time = got.ID, got.Timestamp
	e.Text = Text{got.Level, got.Source, got.Host, got.Message, deref(got.Organisation), deref(got.CorrelationID),
		deref(got.TraceID), deref(got.SpanID), deref(got.StackTrace)}
	if e.Text.Level == "UNSET" {
		e.Text.Level = ""
	}
	for key, value := range got.Metadata {
		e.Attributes = append(e.Attributes, attribute(key, value))
	}
	e.normalise()
	return e, nil
}

// DecodeAll reads records, and fails the test with the first that is not an
// event.
func (s *Schema) DecodeAll(t testing.TB, records []*kgo.Record) []Event {
	t.Helper()
	events := make([]Event, len(records))
	for i, r := range records {
		var err error
		if events[i], err = s.Decode(r); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// attribute reads a value of the map; some come with the name of their branch
// of the union around them.
func attribute(key string, value any) Attribute {
	if branch, ok := value.(map[string]any); ok {
		for _, inner := range branch {
			value = inner
		}
	}
	switch v := value.(type) {
	case int64:
		return Attribute{key, strconv.FormatInt(v, 10), "int"}
	case float64:
		return Attribute{key, float(v), "float"}
	case bool:
		return Attribute{key, strconv.FormatBool(v), "bool"}
	default:
		return Attribute{key, fmt.Sprint(v), "string"}
	}
}

// float writes a number in the one form that is compared.
func float(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
