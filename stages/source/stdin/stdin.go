// Package stdin reads lines from standard input, to the end of a pipe.
//
//	cat app.log | engine run p.yaml
//
// When the input ends the route drains and the run ends; a last line without
// its end is a line.
//
// Standard input cannot be read again: what was read and not settled when the
// process dies is gone. Put what must not be lost in a file and follow that.
package stdin

import (
	"context"
	"embed"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"millrace/engine/stage"
	"millrace/stages/internal/lines"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "stdin", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{
		Source: "stdin", MaxLine: 256 << 10,
		Multiline: Multiline{MaxLines: 500, Timeout: stage.Duration(2 * time.Second)},
	}
}}

// Config is what a pipeline file says about standard input.
type Config struct {
	// Source is what the events have as source. Default stdin.
	Source string `yaml:"source"`
	// MaxLine is how long a line may be, or an event of several lines. Default 256KiB. A longer line comes in parts, events numbered by the attribute `line_part`: nothing of it is lost. An event holds its text as message and as received: keep it below half of batch.max_event.
	MaxLine stage.Size `yaml:"max_line"`
	// Multiline puts lines together that are one event, such as stack traces. Default: every line is an event.
	Multiline Multiline `yaml:"multiline"`
}

// Multiline says which lines are one event.
type Multiline struct {
	// Start is a regular expression for lines that begin an event, such as '^\d{4}-'; lines that do not match continue the event before them. Default "": see continue.
	Start string `yaml:"start"`
	// Continue is a regular expression for lines that continue the event before them, such as '^\s|^Caused by'. Default "": with neither, every line is an event.
	Continue string `yaml:"continue"`
	// MaxLines is how many lines an event may have; what follows begins another. Default 500.
	MaxLines int `yaml:"max_lines"`
	// Timeout is how long nothing must come until the last event is taken as complete. Default 2s.
	Timeout stage.Duration `yaml:"timeout"`
}

func (m Multiline) lines() *lines.Multiline {
	same := lines.Multiline(m)
	return &same
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate(p *stage.Problems) {
	lines.ValidateMax(p, "max_line", c.MaxLine)
	c.Multiline.lines().Validate(p, "multiline.")
}

// Place says that nobody who writes to a pipe can be told no.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{
		Does:    "reads standard input line by line until it ends, then the route drains",
		Crash:   "lines that were read and not settled are gone: standard input cannot be read again",
		Forgets: true,
	}
}

// Links says that standard input is read.
func (c *Config) Links() []stage.Link { return []stage.Link{{What: "stdin"}} }

// Requires says that no other route reads it.
func (c *Config) Requires() []stage.Requirement {
	return []stage.Requirement{{Alone: "standard input"}}
}

// taken says that a route reads standard input.
var taken atomic.Bool

// Open takes standard input, which one route at a time can have.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Reader, error) {
	rule, err := c.Multiline.lines().Rule(c.MaxLine)
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("multiline: %w", err))
	}
	if !taken.CompareAndSwap(false, true) {
		return nil, stage.Fatal(fmt.Errorf("standard input is read by another route of this pipeline; only one can have it"))
	}
	r, err := open(c, s, rule, os.Stdin)
	if err != nil {
		taken.Store(false)
		return nil, err
	}
	return r, nil
}

func open(c *Config, s stage.Settings, rule *lines.Rule, in *os.File) (*reader, error) {
	ids, err := newIDs()
	if err != nil {
		return nil, err
	}
	r := &reader{cfg: c, clock: s.Clock, rule: rule, ids: ids, in: int(in.Fd())}
	r.host, _ = os.Hostname() // "": not known
	r.free = make(chan *lines.Page, pages)
	if err := unix.Pipe2(r.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if term.IsTerminal(r.in) {
		s.Log.Info("waiting for lines on the terminal; end them with ctrl-D")
	}
	return r, nil
}
