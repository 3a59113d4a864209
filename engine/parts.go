package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"millrace/engine/config"
	"millrace/engine/state"
)

// takeState takes the pipeline's state directory. A route has its positions in
// the directory of its process: of the whole pipeline, or of `run --only` with
// just these routes. So it must not run in two processes at a time, each of
// which would read everything; and where it has run in another process before,
// it is said that it begins anew.
func takeState(ctx context.Context, p *config.Pipeline, log *slog.Logger) (*state.Dir, error) {
	_, err := os.Stat(filepath.Join(p.State, "state.db"))
	begins := errors.Is(err, os.ErrNotExist)
	dir, err := state.Open(ctx, p.State)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range p.Routes {
		routes = append(routes, p.Routes[i].Name)
	}
	if p.Whole != "" { // before the others are looked at: of two that begin, one sees the other
		if err := dir.TellRoutes(slices.Clone(routes)); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
	}
	others := state.Others(cmp.Or(p.Whole, p.State), p.State, routes)
	for _, other := range others {
		if err := state.Free(other); err != nil {
			return nil, errors.Join(fmt.Errorf("%w, which runs a route that would run here too and bring its events twice; "+
				"stop it, or choose routes by --only that run nowhere else", err), dir.Close())
		}
	}
	if begins && len(others) > 0 {
		log.Warn("routes have run with another state directory before, whose positions are not read here: they begin anew",
			"state", p.State, "before", strings.Join(others, ", "))
	}
	return dir, nil
}
