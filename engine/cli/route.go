package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"millrace/engine/cli/remote"
)

type routeCommand struct {
	Ls     routeListCommand   `cmd:"" help:"List the routes of a running engine, and how they are doing."`
	Pause  routePauseCommand  `cmd:"" help:"Read nothing more, until resumed; what was read is still delivered."`
	Resume routeResumeCommand `cmd:"" help:"Read on."`
}

type routeListCommand struct{ remoteFlags }

// Run lists the routes.
func (c *routeListCommand) Run(p *program) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := c.client().Routes(ctx)
	if err != nil {
		return coded(err)
	}
	rows := [][]string{{"route", "state", "in", "delivered", "in flight", "poisoned", "reason"}}
	for _, r := range answer.Routes {
		b := r.Books
		rows = append(rows, []string{r.Name, r.State, thousands(b.In), thousands(b.Delivered), thousands(b.InFlight), thousands(b.Poisoned),
			strings.Join(strings.Fields(r.Reason), " ")})
	}
	for _, line := range table(rows) {
		fmt.Fprintln(p.out, line)
	}
	return nil
}

// routeTargets are the routes that a command changes.
type routeTargets struct {
	remoteFlags
	Routes []string `arg:"" name:"route" help:"The routes."`
}

// steer changes the routes one after the other and prints how each is then. All
// are tried; the error is that of the last one that went wrong.
func (t *routeTargets) steer(p *program, do func(*remote.Client, context.Context, string) (remote.Route, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var failed []error
	for _, name := range t.Routes {
		r, err := do(t.client(), ctx, name)
		var refused *remote.RefusedError
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
			failed = append(failed, &codeError{ExitUsage, errors.New(refused.Reason)})
		case errors.As(err, &refused) && refused.Status == http.StatusConflict:
			failed = append(failed, errors.New(refused.Reason))
		case err != nil:
			return coded(err)
		default:
			fmt.Fprintln(p.out, remote.RouteBrief(&r))
		}
	}
	return errors.Join(failed...)
}

type routePauseCommand struct{ routeTargets }

// Run pauses the routes.
func (c *routePauseCommand) Run(p *program) error { return c.steer(p, (*remote.Client).PauseRoute) }

type routeResumeCommand struct{ routeTargets }

// Run resumes the routes.
func (c *routeResumeCommand) Run(p *program) error { return c.steer(p, (*remote.Client).ResumeRoute) }
