package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"millrace/engine/cli/remote"
	"millrace/engine/cli/top"
	"millrace/engine/cli/visible"
)

type topCommand struct {
	remoteFlags
	Every time.Duration `default:"1s" placeholder:"1s" help:"How often to look."`
	Once  bool          `help:"Print one table, stages included, and exit."`
}

// Run shows what an engine does: as a screen on a terminal, as tables elsewhere.
func (c *topCommand) Run(p *program) error {
	if c.Every < 100*time.Millisecond || c.Every > time.Hour {
		return &codeError{ExitUsage, fmt.Errorf("--every: must be from 100ms to 1h, got %v", c.Every)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if c.Once || !interactive(p.out) {
		return c.tables(ctx, p.out)
	}
	_, err := tea.NewProgram(top.New(c.client(), c.Every), tea.WithContext(ctx), tea.WithOutput(p.out)).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil { // ended by a signal
		return nil
	}
	return err
}

// interactive says whether somebody looks at the output and types.
func interactive(out io.Writer) bool {
	return terminalWidth(out) > 0 && term.IsTerminal(int(os.Stdin.Fd()))
}

// tables prints a table per interval until the context ends. An engine that
// goes away meanwhile is waited for; one that is not there is an error.
func (c *topCommand) tables(ctx context.Context, out io.Writer) error {
	client := c.client()
	last, err := c.sample(ctx, client)
	if err != nil {
		return coded(err)
	}
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := c.sample(ctx, client)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && c.Once:
			return coded(err)
		case err != nil:
			_, err = fmt.Fprintf(out, "%s %s\n\n", time.Now().Format(time.TimeOnly), visible.Text(err.Error()))
		default:
			err = top.Plain(out, last, now, c.Once)
			last = now
		}
		if err != nil || c.Once {
			return err
		}
	}
}

func (c *topCommand) sample(ctx context.Context, client *remote.Client) (top.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return top.Take(ctx, client)
}
