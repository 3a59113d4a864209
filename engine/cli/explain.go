package cli

import (
	"fmt"
	"io"
	"strings"

	"millrace/engine/config"
	"millrace/engine/stage"
)

type explainCommand struct {
	pipelineFlags
}

// Run says what each route guarantees.
func (c *explainCommand) Run(p *program) error {
	pipeline, err := c.load(p)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.out, wrap("", fmt.Sprintf("pipeline %s: every event that a route reads is settled exactly once: "+
		"delivered, filtered, shed, poisoned, rejected or returned. What cannot go on waits: nothing is dropped "+
		"unless a stage below says so.", pipeline.Name)))
	for i := range pipeline.Routes {
		explainRoute(p.out, &pipeline.Routes[i])
	}
	return nil
}

func explainRoute(out io.Writer, r *config.Route) {
	fmt.Fprintf(out, "\nroute %s: %s\n", r.Name, flow(r))
	fmt.Fprintln(out, wrap("  ", "guarantee: at least once. The source moves past an event only when it is settled, so a crash repeats "+
		"events and skips none; a repeated event has the same id. How, and what each stage has to do with it:"))
	if r.Source == nil {
		fmt.Fprintln(out, "  it is fed by other routes, which wait until it has settled their events")
	}
	parts := []struct {
		title string
		of    func(stage.Explanation) string
	}{
		{"in normal operation", func(e stage.Explanation) string { return e.Does }},
		{"when this process dies", func(e stage.Explanation) string { return e.Crash }},
		{"while a dependency is away", func(e stage.Explanation) string { return e.Away }},
	}
	for _, part := range parts {
		fmt.Fprintf(out, "  %s\n", part.title)
		for step := range r.Steps() {
			x, ok := step.Config.(stage.Explainer)
			if !ok {
				continue
			}
			if said := part.of(x.Explain()); said != "" {
				fmt.Fprintln(out, wrap(fmt.Sprintf("    %-14s ", step.Name), said))
			}
		}
	}
	fmt.Fprintln(out, wrap(fmt.Sprintf("    %-14s ", "(the route)"), park(r)))
}

// lineWidth is where text for people is broken.
const lineWidth = 100

// wrap breaks a text into lines behind a head, the further ones indented by
// as much.
func wrap(head, text string) string {
	var b strings.Builder
	b.WriteString(head)
	column := len(head)
	for i, word := range strings.Fields(text) {
		if i > 0 && column+1+len(word) > lineWidth {
			b.WriteString("\n" + strings.Repeat(" ", len(head)))
			column = len(head)
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len([]rune(word))
	}
	return b.String()
}

// park says what the route does with what no stage of it can handle.
func park(r *config.Route) string {
	for step := range r.Steps() {
		if step.Stage.Name == "poison_queue" {
			return "bad events are stored aside and the rest goes on; what needs a person (a wrong password) parks the route"
		}
	}
	return "a bad event parks the route, since it has no poison_queue to store it; so does what needs a person (a wrong password)"
}

// flow is the route in one line.
func flow(r *config.Route) string {
	var names []string
	if r.Source != nil {
		names = append(names, r.Source.Name)
	} else {
		names = append(names, "(fed)")
	}
	for _, m := range r.Middleware {
		names = append(names, m.Name)
	}
	return strings.Join(append(names, end(&r.Sink)), " > ")
}

func end(s *config.Sink) string {
	switch {
	case s.Stage != nil:
		return s.Stage.Name
	case s.Route != "":
		return "route " + s.Route
	}
	word := "broadcast"
	if len(s.Switch) > 0 {
		word = "switch"
	}
	var ends []string
	for b := range s.Branches() {
		var names []string
		for _, m := range b.Middleware {
			names = append(names, m.Name)
		}
		ends = append(ends, strings.Join(append(names, end(&b.Sink)), " > "))
	}
	return word + " (" + strings.Join(ends, " | ") + ")"
}
