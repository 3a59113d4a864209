package pipelines_test

import (
	"fmt"
	"log/slog"
	"testing"

	runtime "millrace/engine"
	"millrace/engine/config"
	"millrace/stages"
)

// A route that ends as soon as its topic is made must not be overtaken by the
// end of the pipeline: the client's memory of the topic is older than the topic.
func TestEventsOfANewTopicAreReadHoweverSoonThePipelineEnds(t *testing.T) {
	for n := range 5 {
		p, err := config.Parse(stages.All(), "test.yaml", fmt.Appendf(nil, `
pipeline: new-topic
state: %s
resources: {kafka: {brokers: embedded}}
routes:
  write: {source: {generator: {rate: 1k/s, count: 10}}, sink: {kafka: {topic: events}}}
  read: {source: {kafka: {topic: events, group: g}}, sink: {drop: {}}}
`, t.TempDir()), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := runtime.New(t.Context(), p, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if r := e.Report().Routes; r["write"].Delivered != 10 || r["read"].Delivered != 10 {
			t.Errorf("run %d: wrote %d of 10 and read %d", n, r["write"].Delivered, r["read"].Delivered)
		}
	}
}
