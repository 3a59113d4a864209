package stagetest

import (
	"io/fs"
	"os"
	"path/filepath"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// exampleFile is what every stage embeds.
const exampleFile = "example.yaml"

// example reads the stage's example.yaml as `engine run` would.
func (r *rig) example() *config.Pipeline {
	r.Helper()
	data, err := r.stage.Files.ReadFile(exampleFile)
	if err != nil {
		r.Fatalf("the stage embeds no %s: %v", exampleFile, err)
	}
	catalogue := r.o.Catalogue
	if catalogue == nil {
		catalogue = []stage.Stage{r.stage}
	}
	p, err := config.Parse(catalogue, filepath.Join(r.dir(), exampleFile), data, config.Options{
		Set: r.o.Set,
		Env: func(name string) (string, bool) { v, ok := r.o.Env[name]; return v, ok },
	})
	if err != nil {
		r.Fatalf("%s is not valid:\n%v", exampleFile, err)
	}
	return p
}

// dir is the folder that the example's file names are relative to.
func (r *rig) dir() string {
	r.Helper()
	if r.o.Dir != "" {
		return r.o.Dir
	}
	dir := r.TempDir()
	err := fs.WalkDir(r.stage.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(dir, path), 0o755)
		}
		data, err := r.stage.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), data, 0o644)
	})
	if err != nil {
		r.Fatalf("copying the stage's embedded files: %v", err)
	}
	return dir
}

// configIn finds the stage's Config in a pipeline; nil if it is not used.
func (r *rig) configIn(p *config.Pipeline) any {
	for _, resource := range p.Resources {
		if r.is(resource.Stage) {
			return resource.Config
		}
	}
	for _, route := range p.Routes {
		for step := range route.Steps() {
			if r.is(step.Stage) {
				return step.Config
			}
		}
	}
	return nil
}

func (r *rig) is(s stage.Stage) bool { return s.Kind == r.stage.Kind && s.Name == r.stage.Name }
