package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"millrace/engine/cli/testdata/mark"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// catalogue is what the pipeline files of the tests may name.
func catalogue() []stage.Stage {
	return []stage.Stage{
		{Name: "service", Kind: stage.KindResource, New: func() any { return &service{} }},
		{Name: "lines", Kind: stage.KindSource, New: func() any { return &lines{Count: 3} }},
		mark.Stage,
		{Name: "keep", Kind: stage.KindSink, New: func() any { return &keep{} }},
		{Name: "print", Kind: stage.KindSink, New: func() any { return &printer{} }},
	}
}

// service is a resource that is there or not.
type service struct {
	Away   string       `yaml:"away"`   // why it cannot be reached
	Late   bool         `yaml:"late"`   // it is away when it is asked first, and there from then on
	Denied string       `yaml:"denied"` // why it answers, but only with a no
	Broken string       `yaml:"broken"` // why it cannot be opened
	Token  stage.Secret `yaml:"token"`

	asked bool
}

func (c *service) Open(context.Context, stage.Settings) (io.Closer, error) {
	if c.Broken != "" {
		return nil, errors.New(c.Broken)
	}
	return c, nil
}

func (c *service) Probe(context.Context) error {
	late := c.Late && !c.asked
	if c.asked = true; late {
		return errors.New("not yet")
	}
	if c.Away != "" {
		return errors.New(c.Away)
	}
	if c.Denied != "" {
		return stage.Fatal(errors.New(c.Denied))
	}
	return nil
}

func (c *service) Close() error { return nil }

// lines is a source of so many events. Then it ends, or, as a person would,
// presses ctrl-C and goes on until it is stopped.
type lines struct {
	Service stage.Ref      `yaml:"service" resource:"service,optional"`
	Count   int            `yaml:"count"`
	Rate    stage.Rate     `yaml:"rate"`
	Every   stage.Duration `yaml:"every"`
	Lost    int64          `yaml:"lost"`
	Endless bool           `yaml:"endless"`
	CtrlC   int            `yaml:"ctrl_c"`  // how often
	Settled bool           `yaml:"settled"` // ctrl-C comes when all events are settled
	Hammer  bool           `yaml:"hammer"`  // ctrl-C until that ends the process
	Reads   string         `yaml:"reads"`
}

func (c *lines) Validate(p *stage.Problems) {
	if c.Rate < 0 {
		p.Add("rate", "must not be negative, got %s", c.Rate)
	}
	if c.Count > 1000 {
		p.Warn("count", "is large for a test, got %d", c.Count)
	}
}

func (c *lines) Explain() stage.Explanation {
	return stage.Explanation{Crash: "begins again", Away: "waits."}
}

func (c *lines) Links() []stage.Link { return topic(c.Reads, false) }

func topic(name string, writes bool) []stage.Link {
	if name == "" {
		return nil
	}
	return []stage.Link{{Writes: writes, What: "kafka:kafka:" + name}}
}

func (c *lines) Open(context.Context, stage.Settings) (stage.Reader, error) {
	return &lineReader{lines: c}, nil
}

type lineReader struct {
	*lines
	read    int
	settled sync.WaitGroup
}

func (r *lineReader) Read(ctx context.Context) (event.Parcel, error) {
	if r.read < r.Count {
		r.read++
		e := stagetest.Events(fmt.Sprintf("line %d", r.read))
		e[0].Due = time.Now().UnixNano()
		r.settled.Add(1)
		return event.Parcel{Events: e, Origin: event.Origin{Kind: "lines"}, Done: func(event.Receipt) { r.settled.Done() }}, nil
	}
	if r.Settled {
		r.settled.Wait()
	}
	for r.Hammer {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return event.Parcel{}, stage.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // those that come at the same time are one
	}
	for range r.CtrlC {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return event.Parcel{}, stage.Fatal(err)
		}
		<-ctx.Done() // the first is heard; the second comes while the route drains
	}
	if r.Endless {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return event.Parcel{}, ctx.Err()
	}
	return event.Parcel{}, io.EOF
}

func (r *lineReader) Status() map[string]any { return map[string]any{"lost": r.Lost} }

func (r *lineReader) Close(context.Context) error { return nil }

// keep is a sink that keeps events, or does not.
type keep struct {
	Refuse string `yaml:"refuse"` // the message of a bad event
	Fatal  string `yaml:"fatal"`  // what is wrong with the destination, for good
	Stuck  bool   `yaml:"stuck"`  // writes wait until they are cut off
	Deaf   bool   `yaml:"deaf"`   // writes do not come back
	Writes string `yaml:"writes"`
}

func (c *keep) Links() []stage.Link { return topic(c.Writes, true) }

func (c *keep) Explain() stage.Explanation {
	return stage.Explanation{Does: "keeps events in mind", Away: "is never away"}
}

func (c *keep) Open(context.Context, stage.Settings) (stage.Writer, error) { return c, nil }

func (c *keep) Write(ctx context.Context, b *event.Batch) error {
	if c.Deaf {
		select {}
	}
	if c.Stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	if c.Fatal != "" {
		return stage.Fatal(errors.New(c.Fatal))
	}
	for row, e := range b.Open() {
		if e.Message == c.Refuse {
			b.Refuse(row, stage.Bad(errors.New("nobody wants this")))
		}
	}
	return nil
}

func (c *keep) Close(context.Context) error { return nil }

// printer is a sink that writes messages to the standard output.
type printer struct{}

func (printer) Links() []stage.Link { return []stage.Link{{Writes: true, What: "stdout"}} }

func (printer) Open(context.Context, stage.Settings) (stage.Writer, error) { return printer{}, nil }

func (printer) Write(_ context.Context, b *event.Batch) error {
	for _, e := range b.Open() {
		fmt.Println(e.Message)
	}
	return nil
}

func (printer) Close(context.Context) error { return nil }
