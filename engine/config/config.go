// Package config turns a pipeline file into a checked Pipeline.
//
//	file ─┐  parse       shape               merge         build             check
//	with ─┼─ YAML nodes ─ lists of stages ─── koanf, with ─ variables, ────── validators,
//	set ──┘  with places  become named maps   places beside decoded Configs   graph of routes
//
// parse.go reads one layer into a tree of values that know where they stand.
// shape.go turns the lists of stages into maps by name, so that layers can be
// laid over each other. layers.go merges the trees with koanf, which knows
// maps and values; the places travel beside it, by path. Only what is left
// after the merge is looked at further: variables.go puts in the environment,
// decode.go fills the stages' Configs, strictly, build.go finds the stages and
// makes the routes, check.go asks the validators and looks at the whole.
//
// Nothing stops at the first problem, and every problem says where it is. The
// network is never touched; local files are read.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"millrace/engine/stage"
)

// Options are the layers above the file.
type Options struct {
	// Overlays are pipeline files laid over the first, in order.
	Overlays []string
	// Set are "path=value" settings laid over everything, in order.
	Set []string
	// Only are the routes to keep, to be run as a process of their own; none: all.
	Only []string
	// Env looks up a variable; nil: os.LookupEnv.
	Env func(string) (string, bool)
}

// maxFile bounds what is read: a pipeline file is written by hand.
const maxFile = 4 << 20

// Load reads a pipeline file and its layers. The error is a *Problems.
func Load(catalogue []stage.Stage, file string, opts Options) (*Pipeline, error) {
	l := newLoader(catalogue, file, opts)
	l.report.layer(file)
	if data, err := readFile(file, maxFile); err != nil {
		l.report.add(Pos{File: file}, "", "cannot be read: %v", err)
	} else {
		l.document(file, data)
	}
	return l.finish()
}

// Parse is Load from memory. name is what positions call the file; files that
// it names are relative to name's folder. The error is a *Problems.
func Parse(catalogue []stage.Stage, name string, data []byte, opts Options) (*Pipeline, error) {
	l := newLoader(catalogue, name, opts)
	l.document(name, data)
	return l.finish()
}

// loader is one run of Load.
type loader struct {
	catalogue []stage.Stage
	file      string
	opts      Options
	report    *report
	layers    *layers
	unread    bool // a layer could not be read: what is left means little
}

func newLoader(catalogue []stage.Stage, file string, opts Options) *loader {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	return &loader{catalogue: catalogue, file: file, opts: opts, report: newReport(), layers: newLayers()}
}

// document adds a file as the next layer.
func (l *loader) document(name string, data []byte) {
	l.report.layer(name)
	root := parse(l.report, name, data)
	if root == nil {
		l.unread = true
		return
	}
	shapePipeline(l.report, root)
	l.layers.add(root)
}

// finish lays the other layers over the first and builds the pipeline.
func (l *loader) finish() (*Pipeline, error) {
	for _, overlay := range l.opts.Overlays {
		l.report.layer(overlay)
		data, err := readFile(overlay, maxFile)
		if err != nil {
			l.report.add(Pos{File: overlay}, "", "cannot be read: %v", err)
			l.unread = true
			continue
		}
		l.document(overlay, data)
	}
	var p *Pipeline
	if root := l.layers.tree(); root != nil && !l.unread {
		for _, setting := range l.opts.Set {
			l.set(setting)
		}
		p = newBuilder(l).pipeline(l.layers.tree())
	}
	if p != nil && len(l.opts.Only) > 0 {
		p = keepOnly(l.report, p, l.opts.Only)
	}
	all, warnings := l.report.finish()
	if len(all) > len(warnings) {
		return nil, &all
	}
	p.Warnings = warnings
	return p, nil
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, cause(err)
	case info.IsDir():
		return nil, errors.New("is a directory")
	case info.Size() > limit:
		return nil, tooLarge(info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // a pipe has no size
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is larger than %s", stage.Size(limit))
	}
	return data, nil
}

func tooLarge(size, limit int64) error {
	return fmt.Errorf("is %.1f MiB large, the limit is %s", float64(size)/(1<<20), stage.Size(limit))
}

// cause is an error without the file name, which the position says already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// folder is where files that a value names are looked for.
func folder(pos Pos) string {
	if pos.Line == 0 { // --set
		return "."
	}
	return filepath.Dir(pos.File)
}
