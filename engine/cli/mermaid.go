package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// mermaid writes a flowchart for Mermaid: a box per route, what routes read and
// write outside between them.
func mermaid(out io.Writer, p *config.Pipeline) {
	m := &flowchart{outside: make(map[string]string), begins: make(map[string]string)}
	for i := range p.Routes {
		m.begins[p.Routes[i].Name] = fmt.Sprintf("in%d", i+1)
	}
	m.line(0, "flowchart LR")
	for i := range p.Routes {
		m.route(&p.Routes[i], fmt.Sprintf("route%d", i+1))
	}
	for _, what := range m.things {
		m.line(1, "%s[(%s)]", m.outside[what], label(thing(what)))
	}
	for _, a := range m.arrows {
		m.line(1, "%s", a)
	}
	fmt.Fprint(out, m.text.String())
}

type flowchart struct {
	text    strings.Builder
	begins  map[string]string // the first node of each route
	outside map[string]string // nodes of what routes read and write, by name
	things  []string          // the names, as they came
	arrows  []string          // from and to routes
	nodes   int
}

// label writes a text as Mermaid reads it.
func label(text string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;").Replace(text) + `"`
}

func (m *flowchart) line(depth int, format string, args ...any) {
	fmt.Fprintf(&m.text, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (m *flowchart) route(r *config.Route, id string) {
	m.line(1, "subgraph %s[%s]", id, label(r.Name))
	at := m.begins[r.Name]
	if r.Source != nil {
		m.line(2, "%s([%s])", at, label(r.Source.Name))
		m.link(at, *r.Source)
	} else {
		m.line(2, "%s((fed))", at)
	}
	m.chain(at, " --> ", r.Middleware, &r.Sink)
	m.line(1, "end")
}

// chain draws stages one after the other, the first behind the given arrow.
func (m *flowchart) chain(at, arrow string, list []config.Step, s *config.Sink) {
	for _, step := range list {
		at, arrow = m.step(at, arrow, step, "[%s]"), " --> "
		for i := range step.Outlets {
			o := &step.Outlets[i]
			m.chain(at, " -.->|"+label(word(o.Key))+"| ", nil, &o.Sink)
		}
	}
	switch {
	case s.Stage != nil:
		m.step(at, arrow, *s.Stage, "[/%s/]")
	case s.Route != "":
		m.arrows = append(m.arrows, at+arrow+m.begins[s.Route])
	}
	for b := range s.Branches() {
		to := " --> "
		if r := strings.TrimSuffix(rule(s, b), ": "); r != "" {
			to = " -->|" + label(r) + "| "
		}
		m.chain(at, to, b.Middleware, &b.Sink)
	}
}

func (m *flowchart) step(at, arrow string, s config.Step, shape string) string {
	m.nodes++
	node := fmt.Sprintf("n%d", m.nodes)
	m.line(2, "%s%s%s"+shape, at, arrow, node, label(s.Name))
	m.link(node, s)
	return node
}

// link draws the arrows between a stage and what it reads or writes outside.
func (m *flowchart) link(node string, s config.Step) {
	l, ok := s.Config.(stage.Linker)
	if !ok {
		return
	}
	for _, link := range l.Links() {
		if !slices.Contains(m.things, link.What) {
			m.things = append(m.things, link.What)
			m.outside[link.What] = fmt.Sprintf("x%d", len(m.things))
		}
		if thing := m.outside[link.What]; link.Writes {
			m.arrows = append(m.arrows, node+" --> "+thing)
		} else {
			m.arrows = append(m.arrows, thing+" --> "+node)
		}
	}
}
