// Package stdout writes events to the standard output, one line each: JSON for
// the next program of a pipe, text for people.
//
// Each batch is one write, and all stdout sinks of a process take turns, so
// lines never mix. When the reader goes away (`engine run … | head`), there is
// nobody to deliver to and never will be: that is a Fatal error, so that the
// route stops instead of trying for ever. The signal with which the system
// would kill the process in that moment is caught while a sink is open; other
// routes go on and drain.
package stdout

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "stdout", Kind: stage.KindSink, Files: files, New: func() any { return &Config{Format: formatAuto} }}

const (
	formatAuto = "auto"
	formatJSON = "json"
	formatText = "text"
)

// Config is what a pipeline file says about a stdout.
type Config struct {
	// How events are written: json (one object per line, with the names of the
	// event's fields), text (time, level, source, message, attributes) or auto
	// (text on a terminal, json elsewhere). Default auto.
	Format string `yaml:"format"`
}

// Validate checks the format.
func (c *Config) Validate(p *stage.Problems) {
	p.OneOf("format", c.Format, formatAuto, formatJSON, formatText)
}

// Explain says when an event counts as delivered.
func (c *Config) Explain() stage.Explanation {
	return stage.Explanation{
		Does:  "an event is delivered once it is written to the standard output; whether the reader used it is not known",
		Crash: "events that were written and not yet told to the source come again",
		Away:  "a reader that stops reading stops the route; when it has gone, the run ends well",
	}
}

// Links names the standard output, so that the command line shows nothing
// else there.
func (c *Config) Links() []stage.Link { return []stage.Link{{Writes: true, What: "stdout"}} }

// Open gets ready to write to the process's standard output.
func (c *Config) Open(context.Context, stage.Settings) (stage.Writer, error) {
	text := c.Format == formatText || c.Format == formatAuto && term.IsTerminal(int(os.Stdout.Fd()))
	return open(os.Stdout, text), nil
}

func open(out io.Writer, text bool) *sink {
	s := &sink{out: out, line: eventjson.Append, pipe: make(chan os.Signal, 1)}
	if text {
		s.line = appendText
	}
	// Go ends a program that writes to a closed standard output, unless somebody
	// wants to hear of it. Nobody needs to listen: the write fails as well.
	signal.Notify(s.pipe, syscall.SIGPIPE)
	return s
}

type sink struct {
	out  io.Writer
	line func([]byte, *event.Event) []byte
	pipe chan os.Signal
}

// turn is the right to write to the standard output.
var turn sync.Mutex

// buffers are used again: a batch may be a megabyte.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write writes the open events with one call.
func (s *sink) Write(_ context.Context, b *event.Batch) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	lines := (*buf)[:0]
	for _, e := range b.Open() {
		lines = append(s.line(lines, e), '\n')
	}
	*buf = lines
	if len(lines) == 0 {
		return nil
	}
	turn.Lock()
	defer turn.Unlock()
	_, err := s.out.Write(lines)
	return classify(err)
}

func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe), errors.Is(err, os.ErrClosed):
		return stage.Fatal(fmt.Errorf("stdout was closed by its reader: %w", err))
	default:
		return fmt.Errorf("writing to stdout: %w", err)
	}
}

// Close lets the system's default for closed pipes be again. The standard
// output itself is not ours to close.
func (s *sink) Close(context.Context) error {
	signal.Stop(s.pipe)
	return nil
}
