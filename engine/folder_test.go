package engine_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// told is a resource that is told the settings.
type told struct{ settings *stage.Settings }

func (r *told) Open(_ context.Context, s stage.Settings) (io.Closer, error) {
	*r.settings = s
	return io.NopCloser(nil), nil
}

func TestStagesAreToldTheFolderOfThePipelineFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("pipelines", 0o700); err != nil {
		t.Fatal(err)
	}
	text := "pipeline: test\nresources: {told: {}}\nroutes:\n  r: {source: {in1: {}}, sink: {out1: {}}}\n"
	if err := os.WriteFile("pipelines/p.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got stage.Settings
	w := newWorld(t, stage.Stage{Name: "told", Kind: stage.KindResource, New: func() any { return &told{&got} }})
	for file, want := range map[string]string{"pipelines/p.yaml": filepath.Join(dir, "pipelines"), "": ""} {
		p, err := config.Parse(w.catalogue, file, []byte(text), config.Options{})
		if file != "" {
			p, err = config.Load(w.catalogue, file, config.Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(t.Context(), p, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got.Folder != want {
			t.Errorf("the folder of %q is %q, want %q", file, got.Folder, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
