package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"millrace/engine/cli/visible"
	"millrace/engine/spool"
)

type spoolCommand struct {
	Ls    spoolListCommand  `cmd:"" help:"List what the spools of a pipeline hold; also beside a running engine."`
	Check spoolCheckCommand `cmd:"" help:"Read every batch in the spools and name those that are damaged; also beside a running engine."`
}

// spoolsAt is how both commands are told where to look.
type spoolsAt struct {
	Where string `arg:"" help:"A pipeline file, a state directory, or a spool file."`
	stateFlags
}

// spoolFile is a spool, and the routes of its process if these are not all.
type spoolFile struct{ name, only string }

// files finds the spools, in the order of their names: those of a pipeline, and
// those of processes with a part of its routes.
func (s *spoolsAt) files(p *program) (dir string, files []spoolFile, err error) {
	info, err := os.Stat(s.Where)
	switch {
	case isYAML(s.Where):
		pipeline, err := s.load(p, s.Where)
		if err != nil {
			return "", nil, err
		}
		dir = pipeline.State
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return "", nil, fmt.Errorf("there is no state directory %s; has the pipeline run yet?", dir)
		}
	case errors.Is(err, os.ErrNotExist):
		return "", nil, fmt.Errorf("there is no pipeline file, state directory or spool %s", s.Where)
	case err != nil:
		return "", nil, err
	case !info.IsDir():
		return "", []spoolFile{{name: s.Where}}, s.none()
	default:
		dir, err = s.Where, s.none()
	}
	if err != nil {
		return "", nil, err
	}
	files, err = spoolFiles(dir)
	return dir, files, err
}

func spoolFiles(dir string) (files []spoolFile, err error) {
	only, dirs := parts(dir)
	only, dirs = append([]string{""}, only...), append([]string{dir}, dirs...)
	for i := range dirs {
		names, err := spool.Files(dirs[i])
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			files = append(files, spoolFile{name, only[i]})
		}
	}
	return files, nil
}

type spoolListCommand struct{ spoolsAt }

// Run lists the spools.
func (c *spoolListCommand) Run(p *program) error {
	dir, files, err := c.files(p)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		fmt.Fprintf(p.out, "no spools in %s\n", dir)
		return nil
	}
	rows := [][]string{{"route", "batches", "events", "bytes", "oldest"}}
	var errs []error
	for _, file := range files {
		s, err := spool.Inspect(context.Background(), file.name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		oldest := "-"
		if !s.Oldest.IsZero() {
			oldest = time.Since(s.Oldest).Round(time.Second).String() + " ago"
		}
		route := s.Route
		if file.only != "" {
			route += " (--only " + file.only + ")"
		}
		rows = append(rows, []string{route, thousands(s.Batches), thousands(s.Events), thousands(s.Bytes), oldest})
	}
	if len(rows) > 1 {
		fmt.Fprintln(p.out, strings.Join(table(rows), "\n"))
	}
	return errors.Join(errs...)
}

type spoolCheckCommand struct{ spoolsAt }

// Run checks the spools. Damage is an error.
func (c *spoolCheckCommand) Run(p *program) error {
	dir, files, err := c.files(p)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		fmt.Fprintf(p.out, "no spools in %s\n", dir)
		return nil
	}
	var errs []error
	for _, file := range files {
		batches, damage, err := spool.Check(context.Background(), file.name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(damage) > 0:
			fmt.Fprintf(p.out, "%s: damaged\n", file.name)
			for _, d := range damage {
				fmt.Fprintf(p.out, "  %s\n", visible.Line(d.What()))
			}
			errs = append(errs, fmt.Errorf("spool %s is damaged; put back a copy of it, or move it away to go on without what it holds", file.name))
		default:
			fmt.Fprintf(p.out, "%s: good, %s batches\n", file.name, thousands(batches))
		}
	}
	return errors.Join(errs...)
}
