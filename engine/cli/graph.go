package cli

import (
	"fmt"
	"io"
	"sort"
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

// mermaid writes a flowchart for Mermaid.
func mermaid(out io.Writer, p *config.Pipeline) {
	m := &flowchart{outside: make(map[string]string)}
	m.line(0, "flowchart LR")
	for i := range p.Routes {
		m.route(&p.Routes[i])
	}
	var things []string
	for what := range m.outside {
		things = append(things, what)
	}
	sort.Strings(things)
	for _, what := range things {
		m.line(1, "%s[(%q)]", m.outside[what], what)
	}
	for _, a := range m.arrows {
		m.line(1, "%s", a)
	}
	fmt.Fprint(out, m.text.String())
}

type flowchart struct {
	text    strings.Builder
	outside map[string]string // nodes of what routes read and write, by name
	arrows  []string          // from and to routes
	nodes   int
}

func (m *flowchart) line(depth int, format string, args ...any) {
	fmt.Fprintf(&m.text, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (m *flowchart) route(r *config.Route) {
	m.line(1, "subgraph %s", r.Name)
	at := "in_" + id(r.Name)
	if r.Source != nil {
		m.line(2, "%s([%q])", at, r.Source.Name)
		m.link(at, *r.Source)
	} else {
		m.line(2, "%s((fed))", at)
	}
	m.sink(m.steps(at, r.Middleware), &r.Sink)
	m.line(1, "end")
}

func (m *flowchart) steps(at string, list []config.Step) string {
	for _, s := range list {
		at = m.step(at, s, "[%q]")
	}
	return at
}

func (m *flowchart) step(at string, s config.Step, shape string) string {
	m.nodes++
	node := fmt.Sprintf("n%d", m.nodes)
	m.line(2, "%s --> %s"+shape, at, node, s.Name)
	m.link(node, s)
	return node
}

func (m *flowchart) sink(at string, s *config.Sink) {
	switch {
	case s.Stage != nil:
		m.step(at, *s.Stage, "[/%q/]")
	case s.Route != "":
		m.arrows = append(m.arrows, at+" --> in_"+id(s.Route))
	}
	for b := range s.Branches() {
		m.sink(m.steps(at, b.Middleware), &b.Sink)
	}
}

// link draws the arrows between a stage and what it reads or writes outside.
func (m *flowchart) link(node string, s config.Step) {
	l, ok := s.Config.(stage.Linker)
	if !ok {
		return
	}
	for _, link := range l.Links() {
		thing := m.outside[link.What]
		if thing == "" {
			thing = fmt.Sprintf("x%d", len(m.outside)+1)
			m.outside[link.What] = thing
		}
		if link.Writes {
			m.arrows = append(m.arrows, node+" --> "+thing)
		} else {
			m.arrows = append(m.arrows, thing+" --> "+node)
		}
	}
}

// id makes a name fit for a node.
func id(name string) string { return strings.ReplaceAll(name, "-", "_") }
