package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/config"
	"millrace/engine/stage"
	"millrace/engine/state"
)

// offline opens the stores of a pipeline whose engine does not run. The state
// directory is taken as an engine takes it when something is to be changed, or
// when a resource is needed, which may keep files there. Only to look at it,
// its database is read beside whoever holds it.
type offline struct {
	pipeline  *config.Pipeline
	log       *slog.Logger
	writes    bool
	dir       *state.Dir // nil: not taken
	looking   *sql.DB    // nil: not open
	resources map[string]io.Closer
	closers   []io.Closer // in the order of opening
}

func newOffline(p *program, pipeline *config.Pipeline, writes bool) *offline {
	return &offline{pipeline: pipeline, log: newLogger(newScreen(p.err), "warn"), writes: writes, resources: make(map[string]io.Closer)}
}

// keeper is a stage with a store.
type keeper struct {
	route  string
	step   config.Step
	config stage.PoisonKeeper
}

// keepers finds them in a pipeline.
func keepers(p *config.Pipeline, route string) (found []keeper) {
	for i := range p.Routes {
		r := &p.Routes[i]
		if route != "" && r.Name != route {
			continue
		}
		for step := range r.Steps() {
			if k, ok := step.Config.(stage.PoisonKeeper); ok {
				found = append(found, keeper{r.Name, step, k})
			}
		}
	}
	return found
}

// desks opens the stores.
func (o *offline) desks(ctx context.Context, route string) ([]*dlqDesk, error) {
	var found deskSet
	for _, k := range keepers(o.pipeline, route) {
		s, err := o.settings(ctx, k.route, k.step.Name)
		if err != nil {
			return nil, err
		}
		store, err := k.config.OpenPoison(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.step.Path, err)
		}
		o.closers = append(o.closers, store)
		d := &dlqDesk{base: "http://" + url.PathEscape(k.route) + "/", client: &http.Client{Transport: inProcess{store}}}
		if err := d.get(ctx, "", &d.info); err != nil {
			return nil, err
		}
		found.add(d)
	}
	if len(found.desks) == 0 {
		return nil, noneIn(o.pipeline, route)
	}
	return found.desks, nil
}

// settings are those of a stage or resource, without an engine.
func (o *offline) settings(ctx context.Context, route, name string) (stage.Settings, error) {
	db, err := o.database(ctx)
	return stage.Settings{
		Pipeline: o.pipeline.Name, Route: route, Name: name, Instance: whoami(),
		Log: o.log.With("stage", name), Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
		State: db, StateDir: o.pipeline.State,
		Mount:    func(string, http.Handler) error { return errors.New("no engine runs") },
		Resource: func(resource string) (any, error) { return o.resource(ctx, resource) },
	}, err
}

// database is the state database; nil where there is none to look at.
func (o *offline) database(ctx context.Context) (*sql.DB, error) {
	if o.writes && o.dir == nil {
		if err := o.take(ctx); err != nil {
			return nil, err
		}
	}
	if o.dir != nil {
		return o.dir.DB, nil
	}
	if o.looking != nil {
		return o.looking, nil
	}
	file, err := filepath.Abs(filepath.Join(o.pipeline.State, "state.db"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil {
		return nil, nil // a store that needs it says so
	}
	where := url.URL{Scheme: "file", Path: file, RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)"}}.Encode()}
	o.looking, err = sql.Open("sqlite", where.String())
	return o.looking, err
}

// take makes the state directory this process's own.
func (o *offline) take(ctx context.Context) (err error) {
	if o.dir != nil {
		return nil
	}
	if o.dir, err = state.Open(ctx, o.pipeline.State); err != nil {
		return fmt.Errorf("%w; while its engine runs, --addr (or ENGINE_ADDR) reaches it there", err)
	}
	return nil
}

// resource opens a resource when it is first asked for.
func (o *offline) resource(ctx context.Context, name string) (any, error) {
	if r, ok := o.resources[name]; ok {
		return r, nil
	}
	i := slices.IndexFunc(o.pipeline.Resources, func(r config.Resource) bool { return r.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("the pipeline has no resource %q", name)
	}
	if err := o.take(ctx); err != nil {
		return nil, err
	}
	s, err := o.settings(ctx, "", name)
	if err != nil {
		return nil, err
	}
	r, err := o.pipeline.Resources[i].Config.Open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", name, err)
	}
	o.resources[name] = r
	o.closers = append(o.closers, r)
	return r, nil
}

// close closes in the opposite order of opening: stores use resources.
func (o *offline) close() error {
	var errs []error
	for _, c := range slices.Backward(o.closers) {
		errs = append(errs, c.Close())
	}
	if o.looking != nil {
		errs = append(errs, o.looking.Close())
	}
	if o.dir != nil {
		errs = append(errs, o.dir.Close())
	}
	return errors.Join(errs...)
}
