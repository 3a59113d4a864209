package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"millrace/engine/load"
	"millrace/engine/load/journal"
)

type loadJournalCommand struct {
	loadTarget
	Number int64  `name:"run" placeholder:"N" help:"Which run of the load, from 1. Default: the last one, which may still run."`
	Out    string `short:"o" placeholder:"FILE" help:"Write it to this file. Default: standard output."`
	State  string `placeholder:"DIR" help:"Read it from this state directory instead of a running engine."`
}

// Run writes how a load was changed, as a file that plays the run again.
func (c *loadJournalCommand) Run(p *program) error {
	if c.Number < 0 {
		return &codeError{ExitUsage, fmt.Errorf("--run: must be the number of a run, from 1, got %d", c.Number)}
	}
	ctx, stop := interruptible()
	defer stop()
	text, err := c.text(ctx)
	if err != nil {
		return err
	}
	if c.Out == "" || c.Out == stdout {
		_, err = p.out.Write(text)
		return err
	}
	if err := os.WriteFile(c.Out, text, 0o644); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	fmt.Fprintf(p.out, "wrote %s; to play it again: source: {generator: {load: {journal: %s}}}\n", c.Out, c.Out)
	return nil
}

func (c *loadJournalCommand) text(ctx context.Context) ([]byte, error) {
	if c.State != "" {
		return c.stored(ctx)
	}
	route, err := c.route(c.Route)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path := load.JournalPath(route)
	if c.Number > 0 {
		path += "?run=" + strconv.FormatInt(c.Number, 10)
	}
	text, err := c.client().Text(ctx, path)
	return text, coded(err)
}

// stored reads the journal from a state directory, beside an engine that may
// use it.
func (c *loadJournalCommand) stored(ctx context.Context) (text []byte, err error) {
	file, err := filepath.Abs(filepath.Join(c.State, "state.db"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil {
		return nil, &codeError{ExitUsage, fmt.Errorf("--state: %s is no state directory of an engine: %w", c.State, err)}
	}
	where := url.URL{Scheme: "file", Path: file, RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)"}}.Encode()}
	db, err := sql.Open("sqlite", where.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if text, err = journal.Read(ctx, db, c.Route, c.Number); err != nil {
		return nil, &codeError{ExitUsage, fmt.Errorf("%s: %w", c.State, err)}
	}
	return text, nil
}
