package file_test

import (
	"path/filepath"
	"testing"

	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages"
	"millrace/stages/sink/file"
)

func TestConformance(t *testing.T) {
	stagetest.Conformance(t, file.Stage, stagetest.Options{
		Catalogue: append(stages.All(), file.Stage),
		Set:       []string{"routes.store.sink.file.path=" + filepath.Join(t.TempDir(), "events.ndjson")},
		Break:     func(_ stagetest.T, b stagetest.Bench) func() { return file.Break(b.Instance.(stage.Writer)) },
	})
}
