package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"millrace/engine/cli/visible"
	"millrace/engine/config"
)

type breakerCommand struct {
	Ls          breakerListCommand        `cmd:"" help:"List the breakers of a running engine."`
	Open        breakerOpenCommand        `cmd:"" help:"Open a breaker for its usual time, then trials."`
	ForcedOpen  breakerForcedOpenCommand  `cmd:"" name:"forced-open" help:"Open a breaker until told otherwise."`
	Close       breakerCloseCommand       `cmd:"" help:"Close a breaker, with an empty window."`
	Disable     breakerDisableCommand     `cmd:"" help:"Let all calls pass and count nothing."`
	MetricsOnly breakerMetricsOnlyCommand `cmd:"" name:"metrics-only" help:"Let all calls pass and only count."`
	Reset       breakerResetCommand       `cmd:"" help:"Close a breaker, whatever state it is in."`
}

// foundBreaker is a breaker as /api/v1/routes shows it.
type foundBreaker struct {
	name   string // route/stage
	path   string
	status map[string]any
}

// breakers asks a running engine for its breakers.
func (f *remoteFlags) breakers() ([]foundBreaker, error) {
	var answer struct {
		Routes []struct {
			Name   string
			Stages []struct {
				Name, Stage string
				Status      map[string]any
			}
		}
	}
	if err := f.call("GET", "/api/v1/routes", &answer); err != nil {
		return nil, err
	}
	var found []foundBreaker
	for _, r := range answer.Routes {
		for _, s := range r.Stages {
			path, _ := s.Status["path"].(string)
			if s.Stage == "breaker" && path != "" {
				found = append(found, foundBreaker{r.Name + "/" + s.Name, path, s.Status})
			}
		}
	}
	return found, nil
}

type breakerListCommand struct{ remoteFlags }

// Run lists the breakers.
func (c *breakerListCommand) Run(p *program) error {
	found, err := c.breakers()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintln(p.out, "no route of this engine has a breaker")
		return nil
	}
	rows := [][]string{{"breaker", "state", "failures", "slow", "calls", "not permitted", "waiting", "shared as"}}
	for _, b := range found {
		number := func(key string) string {
			v, _ := b.status[key].(float64)
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		state, _ := b.status["state"].(string)
		shared, _ := b.status["resource"].(string)
		rows = append(rows, []string{b.name, state, share(b.status["failure_rate"]), share(b.status["slow_call_rate"]),
			number("buffered_calls"), number("not_permitted"), number("waiting"), shared})
	}
	for _, line := range table(rows) {
		fmt.Fprintln(p.out, line)
	}
	return nil
}

// share prints a rate in percent; below 0 there were too few calls.
func share(v any) string {
	if rate, ok := v.(float64); ok && rate >= 0 {
		return strconv.FormatFloat(rate, 'f', 1, 64) + "%"
	}
	return "-"
}

// breakerTarget is the breaker that a command changes.
type breakerTarget struct {
	remoteFlags
	Breaker string `arg:"" help:"The breaker, as ROUTE/NAME; ROUTE alone where it has only one."`
}

// notOne says why a name is not enough to find a breaker.
func notOne(name string, chosen int, known []string) string {
	switch {
	case len(known) == 0:
		return "no route of this engine has a breaker"
	case chosen == 0:
		return fmt.Sprintf("no breaker %q%s", name, config.DidYouMean(name, "breakers", known))
	default:
		return fmt.Sprintf("route %s has %d breakers; say which is meant: %s", name, chosen, strings.Join(known, ", "))
	}
}

// post sends a command to the breaker and prints the state it is in then.
func (t *breakerTarget) post(p *program, command string) error {
	found, err := t.breakers()
	if err != nil {
		return err
	}
	var names []string
	var chosen []foundBreaker
	for _, b := range found {
		names = append(names, b.name)
		if route, _, _ := strings.Cut(b.name, "/"); b.name == t.Breaker || route == t.Breaker {
			chosen = append(chosen, b)
		}
	}
	if len(chosen) != 1 {
		return &codeError{ExitUsage, errors.New(visible.Line(notOne(t.Breaker, len(chosen), names)))}
	}
	var after struct{ State string }
	if err := t.call("POST", chosen[0].path+"/"+command, &after); err != nil {
		return err
	}
	fmt.Fprintln(p.out, visible.Line(chosen[0].name+" is "+after.State))
	return nil
}

type (
	breakerOpenCommand        struct{ breakerTarget }
	breakerForcedOpenCommand  struct{ breakerTarget }
	breakerCloseCommand       struct{ breakerTarget }
	breakerDisableCommand     struct{ breakerTarget }
	breakerMetricsOnlyCommand struct{ breakerTarget }
	breakerResetCommand       struct{ breakerTarget }
)

// Run opens the breaker.
func (c *breakerOpenCommand) Run(p *program) error { return c.post(p, "open") }

// Run forces the breaker open.
func (c *breakerForcedOpenCommand) Run(p *program) error { return c.post(p, "forced_open") }

// Run closes the breaker.
func (c *breakerCloseCommand) Run(p *program) error { return c.post(p, "close") }

// Run disables the breaker.
func (c *breakerDisableCommand) Run(p *program) error { return c.post(p, "disable") }

// Run makes the breaker only count.
func (c *breakerMetricsOnlyCommand) Run(p *program) error { return c.post(p, "metrics_only") }

// Run resets the breaker.
func (c *breakerResetCommand) Run(p *program) error { return c.post(p, "reset") }
