package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

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
	width := proseWidthOf(p.out)
	fmt.Fprintln(p.out, wrap("", fmt.Sprintf("pipeline %s: every event that a route reads is settled exactly once: "+
		"delivered, filtered, shed, poisoned, rejected or returned. What cannot go on waits: nothing is dropped "+
		"unless a stage below says so.", pipeline.Name), width))
	for i := range pipeline.Routes {
		explainRoute(p.out, &pipeline.Routes[i], width)
	}
	return nil
}

func explainRoute(out io.Writer, r *config.Route, width int) {
	names := 0
	for step := range r.Steps() {
		names = max(names, utf8.RuneCountInString(step.Name))
	}
	fmt.Fprintln(out, "\n"+hang("route "+r.Name+": ", 4, flow(r), width))
	if r.Source == nil {
		fmt.Fprintln(out, wrap("  ", "It is fed by other routes, which wait until it has settled their events.", width))
	}
	fmt.Fprintln(out, wrap("  ", "guarantee: "+guarantee(r)+" How, and what each stage has to do with it:", width))
	for _, part := range explained {
		title := "  " + part.title + "\n"
		for step := range r.Steps() {
			x, ok := step.Config.(stage.Explainer)
			if !ok {
				continue
			}
			if said := part.of(x.Explain()); said != "" {
				fmt.Fprintln(out, title+wrap("    "+pad(step.Name, names)+"  ", sentence(said), width))
				title = ""
			}
		}
	}
	fmt.Fprintln(out, "  when an event is bad, or a person is needed")
	fmt.Fprintln(out, wrap("    ", park(r), width))
}

// explained are the parts of what stages say.
var explained = []struct {
	title string
	of    func(stage.Explanation) string
}{
	{"in normal operation", func(e stage.Explanation) string { return e.Does }},
	{"when this process dies", func(e stage.Explanation) string { return e.Crash }},
	{"while a dependency is away", func(e stage.Explanation) string { return e.Away }},
}

// guarantee is the route's guarantee in a sentence or two.
func guarantee(r *config.Route) string {
	if r.Source != nil {
		if x, ok := r.Source.Config.(stage.Explainer); ok && x.Explain().Forgets {
			return "every event is delivered or accounted for while this process lives. When it dies, the events that " +
				"were not settled are gone, since the source cannot give them again."
		}
	}
	return "at least once. The source moves past an event only when it is settled, so a crash repeats events and " +
		"skips none; a repeated event has the same id."
}

// park says what the route does with what no stage of it can handle.
func park(r *config.Route) string {
	for step := range r.Steps() {
		if step.Stage.Name == "poison_queue" {
			return "Bad events are stored aside and the rest goes on. What needs a person (a wrong password) parks the route."
		}
	}
	return "A bad event parks the route, since it has no poison_queue to store it. So does what needs a person (a wrong password)."
}

// flow is the route in one line.
func flow(r *config.Route) string {
	var names []string
	if r.Source != nil {
		names = append(names, r.Source.Name)
	} else {
		names = append(names, "(fed)")
	}
	names = append(names, flowOf(r.Middleware)...)
	return strings.Join(append(names, end(&r.Sink)), " > ")
}

// flowOf names the stages of a chain, with the sinks that they have for
// themselves: "breaker [divert: file]".
func flowOf(list []config.Step) (names []string) {
	for _, m := range list {
		name := m.Name
		for i := range m.Outlets {
			o := &m.Outlets[i]
			name += " [" + word(o.Key) + ": " + end(&o.Sink) + "]"
		}
		names = append(names, name)
	}
	return names
}

// word is what an outlet's key says: "divert" of "on_open.divert".
func word(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

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
		names := flowOf(b.Middleware)
		ends = append(ends, rule(s, b)+strings.Join(append(names, end(&b.Sink)), " > "))
	}
	return word + " (" + strings.Join(ends, " | ") + ")"
}

// rule is what events of a switch's branch are like: "level >= WARN: ", or ""
// for the rest, and for a broadcast.
func rule(s *config.Sink, b *config.Branch) string {
	for i := range s.Switch {
		if c := &s.Switch[i]; &c.Branch == b && !c.When.IsZero() {
			return c.When.String() + ": "
		}
	}
	return ""
}
