package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"millrace/engine/config"
	"millrace/engine/state"
)

// stateFlags say which pipeline's state is meant, for commands that may do
// without a pipeline file.
type stateFlags struct {
	Set  []string `placeholder:"KEY=VALUE" help:"Set one value of the pipeline file. Repeatable." sep:"none"`
	With []string `placeholder:"FILE" help:"Lay another file over the pipeline file. Repeatable." sep:"none"`
	Only []string `placeholder:"ROUTE,…" help:"The process that runs only these routes (run --only), and its state."`
}

// load reads and checks the file.
func (f *stateFlags) load(p *program, file string) (*config.Pipeline, error) {
	flags := pipelineFlags{File: file, Set: f.Set, With: f.With, Only: f.Only}
	return flags.load(p)
}

// none reports flags that are of no use, since no pipeline file is named.
func (f *stateFlags) none() error {
	if len(f.Set)+len(f.With)+len(f.Only) == 0 {
		return nil
	}
	return &codeError{ExitUsage, errors.New("--set, --with and --only need a pipeline file, of which they change or choose something")}
}

// parts lists the state directories below another that processes with a part
// of its routes have made, by what their --only was.
func parts(dir string) (only, dirs []string) {
	found, _ := filepath.Glob(filepath.Join(dir, "only", "*", "state.db")) // the pattern is good
	for _, file := range found {
		part := filepath.Dir(file)
		only = append(only, strings.Join(state.RoutesOf(part), ","))
		dirs = append(dirs, part)
	}
	return only, dirs
}

// tellParts names the parts of a pipeline, which have stores of their own.
func tellParts(out io.Writer, pipeline *config.Pipeline) {
	only, dirs := parts(pipeline.State)
	for i := range only {
		fmt.Fprintf(out, "not looked at here: what run --only %s keeps in %s; --only %s looks there\n", only[i], dirs[i], only[i])
	}
}

// stateDir is the state directory that a command was given: by itself, or by
// its pipeline's file.
func (f *stateFlags) stateDir(p *program, where string) (string, error) {
	if info, err := os.Stat(where); err == nil && info.IsDir() {
		return where, f.none()
	} else if err != nil && !isYAML(where) {
		return "", &codeError{ExitUsage, fmt.Errorf("there is no state directory %s", where)}
	}
	pipeline, err := f.load(p, where)
	if err != nil {
		return "", err
	}
	return pipeline.State, nil
}
