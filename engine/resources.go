package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/config"
	"millrace/engine/stage"
	"millrace/engine/state"
)

// opened is a stage or resource that was opened: what has to be closed, may be
// probed, and has something to show.
type opened struct {
	name     string
	kind     stage.Kind
	stage    string // its catalogue name
	instance any
	release  func() // gives its metrics and mounted paths free
}

func (o opened) close(ctx context.Context) error {
	defer o.release()
	var err error
	switch i := o.instance.(type) {
	case interface{ Close(context.Context) error }:
		err = i.Close(ctx)
	case io.Closer:
		err = i.Close()
	}
	if err != nil {
		return fmt.Errorf("closing %s: %w", o.name, err)
	}
	return nil
}

// surroundings is what the Settings of all stages of a pipeline share.
type surroundings struct {
	pipeline  string
	folder    string // of the pipeline file
	instance  string
	log       *slog.Logger
	registry  *prometheus.Registry
	mounts    *Mounts
	state     *state.Dir
	resources map[string]any
}

func newSurroundings(pipeline string, log *slog.Logger, dir *state.Dir) *surroundings {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &surroundings{
		pipeline: pipeline, instance: fmt.Sprintf("%s-%d", host, os.Getpid()),
		log: log, registry: prometheus.NewRegistry(), mounts: &Mounts{}, state: dir,
		resources: make(map[string]any),
	}
}

// folderOf is where the pipeline file is; "" for a pipeline that is in none.
func folderOf(p *config.Pipeline) (string, error) {
	if p.File == "" {
		return "", nil
	}
	folder, err := filepath.Abs(p.BaseDir)
	if err != nil {
		return "", fmt.Errorf("finding the folder of %s: %w", p.File, err)
	}
	return folder, nil
}

// settings makes the Settings of one stage, and the function that takes back
// what the stage has put up through them.
func (s *surroundings) settings(route, name string, step int) (stage.Settings, func()) {
	log := s.log
	if route != "" {
		log = log.With("route", route)
	}
	metrics := &scope{Registerer: prometheus.WrapRegistererWith(
		prometheus.Labels{"pipeline": s.pipeline, "route": route, "stage": name}, s.registry)}
	mounted := s.mounts.scope()
	return stage.Settings{
			Pipeline: s.pipeline, Folder: s.folder, Route: route, Name: name, Instance: s.instance, Step: step,
			Log: log.With("stage", name), Metrics: metrics, Clock: stage.SystemClock,
			State: s.state.DB, StateDir: s.state.Path,
			Mount: mounted.mount, Resource: s.resource,
		}, func() {
			metrics.release()
			mounted.release()
		}
}

func (s *surroundings) resource(name string) (any, error) {
	r, ok := s.resources[name]
	if !ok {
		return nil, fmt.Errorf("no resource %q is open", name)
	}
	return r, nil
}

// openResources opens the pipeline's resources in file order. What was opened
// before one fails is closed again.
func (s *surroundings) openResources(ctx context.Context, p *config.Pipeline) ([]opened, error) {
	var all []opened
	for _, r := range p.Resources {
		settings, release := s.settings("", r.Name, 0)
		settings.Variables = variables(p.Replaced, r.Path)
		instance, err := r.Config.Open(ctx, settings)
		if err != nil {
			release()
			err = fmt.Errorf("%s: resource %s: %w", r.Pos, r.Name, err)
			return nil, errors.Join(err, closeAll(ctx, all))
		}
		s.resources[r.Name] = instance
		all = append(all, opened{name: r.Name, kind: stage.KindResource, stage: r.Stage.Name, instance: instance, release: release})
	}
	return all, nil
}

// variables picks the defaults that were used below a path.
func variables(replaced []config.Default, path string) map[string]string {
	found := make(map[string]string)
	for _, d := range replaced {
		if key, ok := strings.CutPrefix(d.Path, path+"."); ok {
			found[key] = d.Variable
		}
	}
	return found
}

// closeAll closes in the opposite order of opening.
func closeAll(ctx context.Context, all []opened) error {
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		errs = append(errs, all[i].close(ctx))
	}
	return errors.Join(errs...)
}

// scope remembers what a stage registered, so that it can be taken out again
// when the stage is closed.
type scope struct {
	prometheus.Registerer
	registered []prometheus.Collector
}

func (s *scope) Register(c prometheus.Collector) error {
	err := s.Registerer.Register(c)
	if err == nil {
		s.registered = append(s.registered, c)
	}
	return err
}

func (s *scope) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := s.Register(c); err != nil {
			panic(err)
		}
	}
}

func (s *scope) release() {
	for _, c := range s.registered {
		s.Unregister(c)
	}
	s.registered = nil
}
