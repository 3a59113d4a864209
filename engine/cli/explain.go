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
	parts := partsOf(r)
	names := 0
	for _, p := range parts {
		names = max(names, utf8.RuneCountInString(p.name))
	}
	fmt.Fprintln(out, "\n"+hang("route "+r.Name+": ", 4, flow(r), width))
	if r.Source == nil {
		fmt.Fprintln(out, wrap("  ", "It is fed by other routes, which wait until it has settled their events.", width))
	}
	fmt.Fprintln(out, wrap("  ", "guarantee: "+guarantee(r)+" How, and what each stage has to do with it:", width))
	for _, x := range explained {
		title := "  " + x.title + "\n"
		for _, p := range parts {
			if said := x.of(p.Explanation); said != "" {
				fmt.Fprintln(out, title+wrap("    "+pad(p.name, names)+"  ", sentence(said), width))
				title = ""
			}
		}
	}
	fmt.Fprintln(out, "  when an event is bad, or a person is needed")
	fmt.Fprintln(out, wrap("    ", park(r), width))
}

// part is what one part of a route has to say.
type part struct {
	name string
	stage.Explanation
}

// partsOf are the stages of a route that explain themselves, and its spool.
func partsOf(r *config.Route) (parts []part) {
	for step := range r.Steps() {
		if r.Spool != nil && len(parts) == 0 && step.Stage.Kind != stage.KindSource {
			parts = append(parts, part{"spool", explainSpool(r.Spool)})
		}
		p := part{name: step.Name}
		if x, ok := step.Config.(stage.Explainer); ok {
			p.Explanation = x.Explain()
		}
		parts = append(parts, p)
		if r.Spool != nil && step.Stage.Kind == stage.KindSource {
			parts = append(parts, part{"spool", explainSpool(r.Spool)})
		}
	}
	return parts
}

// explainSpool is the spool's part in the guarantee.
func explainSpool(s *config.Spool) stage.Explanation {
	does := "Stores on disk what cannot be delivered at once"
	if s.When == config.SpoolAlways {
		does = "Stores every event on disk"
	}
	does += "; for its source an event is delivered when it is flushed there. Then it goes to the sink, in the order of its lane " +
		"(a partition, a file, a connection), " + drainOf(s)
	if s.When == config.SpoolOpen {
		does += ". Once a lane has spooled, all of it goes through the spool until that is empty"
	}
	full := map[config.SpoolFull]string{
		config.FullBlock:  "events wait, and the source with them",
		config.FullReject: "the source is told no, and one that cannot be told loses them",
		config.FullShed:   "events are dropped and counted as shed",
	}[s.Full]
	return stage.Explanation{
		Does:  does,
		Crash: "What is stored stays and is delivered after the next start; what was delivered just before comes twice, with the same id",
		Away:  fmt.Sprintf("The route starts and takes events without its sink. The spool holds up to %s; when it is full, %s", s.Max, full),
	}
}

func drainOf(s *config.Spool) string {
	if s.DrainRate == 0 {
		return "as fast as the sink takes it"
	}
	return fmt.Sprintf("at most %s", s.DrainRate)
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
	text := "at least once. The source moves past an event only when it is settled, so a crash repeats events and " +
		"skips none; a repeated event has the same id."
	for step := range r.Steps() {
		if step.Stage.Kind == stage.KindTransform {
			return text + " However often an event is tried again, a transform changes it once."
		}
	}
	return text
}

// park says what the route does with what no stage of it can handle.
func park(r *config.Route) string {
	what := "the route"
	if r.Spool != nil {
		what = "what is behind the spool, which goes on to fill"
	}
	for step := range r.Steps() {
		if p, ok := step.Config.(stage.Placed); ok && p.Place().Role == stage.StoresBad {
			return "Bad events are stored aside and the rest goes on. What needs a person (a wrong password) parks " + what + "."
		}
	}
	return "A bad event parks the route, since it has no poison_queue to store it. What needs a person (a wrong password) parks " + what + "."
}

// flow is the route in one line.
func flow(r *config.Route) string {
	var names []string
	if r.Source != nil {
		names = append(names, r.Source.Name)
	} else {
		names = append(names, "(fed)")
	}
	if r.Spool != nil {
		names = append(names, "(spool)")
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
