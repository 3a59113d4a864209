package cli

import (
	"fmt"
	"io"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/stage"
)

type graphCommand struct {
	pipelineFlags
	Format string `enum:"text,mermaid" default:"text" help:"text or mermaid."`
}

// Run draws a pipeline.
func (c *graphCommand) Run(p *program) error {
	pipeline, err := c.load(p)
	if err != nil {
		return err
	}
	if c.Format == "mermaid" {
		mermaid(p.out, pipeline)
	} else {
		drawing(p.out, pipeline)
	}
	return nil
}

// drawing draws each route as a column, and says what hangs together.
func drawing(out io.Writer, p *config.Pipeline) {
	for i := range p.Routes {
		r := &p.Routes[i]
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, r.Name)
		fmt.Fprintf(out, "  %s\n", flow(r))
		for _, l := range linksOf(r) {
			word := "reads "
			if l.Writes {
				word = "writes"
			}
			fmt.Fprintf(out, "  %s %s\n", word, l.What)
		}
		for _, e := range engine.Edges(p) {
			if e.From == r.Name {
				via := "directly"
				if e.Via != "" {
					via = "through " + e.Via
				}
				fmt.Fprintf(out, "  feeds  %s %s\n", e.To, via)
			}
		}
	}
}

func linksOf(r *config.Route) []stage.Link {
	var all []stage.Link
	for step := range r.Steps() {
		if l, ok := step.Config.(stage.Linker); ok {
			all = append(all, l.Links()...)
		}
	}
	return all
}
