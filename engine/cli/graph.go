package cli

import (
	"fmt"
	"io"
	"strings"

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
			fmt.Fprintf(out, "  %s %s\n", word, thing(l.What))
		}
		for _, e := range engine.Edges(p) {
			if e.From == r.Name {
				via := "directly"
				if e.Via != "" {
					via = "through " + thing(e.Via)
				}
				fmt.Fprintf(out, "  feeds  %s %s\n", e.To, via)
			}
		}
	}
}

// nouns are what resources of a kind hold, in the words of their users.
var nouns = map[string]string{"kafka": "topic", "sql": "table"}

// thing writes what routes read and write outside: "topic events" for
// kafka:kafka:events, with the resource where its name is not that of its kind.
func thing(what string) string {
	kind, rest, _ := strings.Cut(what, ":")
	noun, known := nouns[kind]
	resource, name, ok := strings.Cut(rest, ":")
	switch {
	case !known || !ok:
		return what
	case resource == kind:
		return noun + " " + name
	default:
		return noun + " " + name + " of " + resource
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
