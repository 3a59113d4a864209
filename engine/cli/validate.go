package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// healthy probes the resources once.
func healthy(ctx context.Context, e *engine.Engine) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return verdict(e.Probe(ctx))
}

// verdict is the error of what was found by probing; nil: all is there.
func verdict(found []engine.Component) error {
	var errs []error
	for _, c := range found {
		if c.Err != nil {
			errs = append(errs, failure(c))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &codeError{ExitUnreachable, err}
	}
	return nil
}

// failure is the error of one probe.
func failure(c engine.Component) error {
	if condition(c.Err) == "failed" {
		return fmt.Errorf("%s %s: failed: %w", c.Kind, c.Name, c.Err)
	}
	return fmt.Errorf("%s %s is away: %w", c.Kind, c.Name, c.Err)
}

// condition is what a probe says of a dependency: away is waited for, failed
// needs a person.
func condition(err error) string {
	switch {
	case err == nil:
		return "ok"
	case stage.ClassOf(err) == stage.Unfixable:
		return "failed"
	default:
		return "away"
	}
}

// probeTimeout bounds a check of all dependencies.
const probeTimeout = 5 * time.Second

type validateCommand struct {
	pipelineFlags
	Connect bool `help:"Also connect to each dependency, once."`
}

// Run checks a pipeline file.
func (c *validateCommand) Run(p *program) error {
	pipeline, err := c.load(p)
	if err != nil {
		return err
	}
	stages := 0
	for i := range pipeline.Routes {
		for range pipeline.Routes[i].Steps() {
			stages++
		}
	}
	fmt.Fprintf(p.out, "%s: ok (%s, %s)\n", c.File, count(len(pipeline.Routes), "route"), count(stages, "stage"))
	if !c.Connect {
		return nil
	}
	return connect(p, pipeline)
}

// connect opens the resources beside a scratch state directory, so that a
// running engine is not disturbed and nothing is left behind, and probes them.
func connect(p *program, pipeline *config.Pipeline) error {
	scratch, err := os.MkdirTemp("", "millrace-validate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	probed := *pipeline
	probed.State, probed.Whole = scratch, ""
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	e, err := engine.New(ctx, &probed, newLogger(newScreen(p.err), "error"))
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	found := e.Probe(ctx)
	for _, c := range found {
		fmt.Fprintf(p.out, "%s %s: %s (%s)\n", c.Kind, c.Name, condition(c.Err), c.Took.Round(100*time.Microsecond))
	}
	return verdict(found)
}
