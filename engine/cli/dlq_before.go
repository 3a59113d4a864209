package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// Transforms that stand before a poison queue in its route have changed the
// events that came to it, and so these are stored: a replay begins at the
// queue, or it would change them a second time. An event that one of them
// refused, or its source, did not come that far: it goes through the whole
// route. Which of the two it is an entry says by the stage that refused it.

// transformsBefore names the transforms before a stage, and says where that is.
func transformsBefore(steps []config.Step, name string) (names []string, at int) {
	for i, s := range steps {
		if s.Name == name {
			return names, i
		}
		if s.Stage.Kind == stage.KindTransform {
			names = append(names, s.Name)
		}
	}
	return nil, 0 // it stands on a branch: the replay goes through the whole route
}

// before is transformsBefore for a running route. It lists its stages as they
// were opened, the source last.
func (e *dlqEngine) before(route, name string) (names []string) {
	for _, r := range e.answer.Routes {
		if r.Name != route {
			continue
		}
		within := true
		for _, s := range r.Stages {
			if !within && s.Kind == stage.KindTransform {
				names = append(names, s.Name)
			}
			within = within && s.Name != name
		}
	}
	return names
}

// refusedBy is the expression that picks what the source or one of some stages
// refused. It is decided before what a user asks for.
func refusedBy(names []string) string {
	quoted := []string{`""`}
	for _, n := range names {
		quoted = append(quoted, strconv.Quote(n))
	}
	return "attributes.dlq_stage in [" + strings.Join(quoted, ", ") + "]"
}

// both is the expression for what two of them pick.
func both(first, second string) string {
	if second == "" {
		return first
	}
	return first + " and (" + second + ")"
}

// atQueue restricts a replay into a running route to what may begin at the
// queue, and tells of the rest, which stays.
func (c *dlqReplayCommand) atQueue(ctx context.Context, p *program, e *dlqEngine, d, at *dlqDesk, req *stage.PoisonReplay, sum *tally) error {
	names := e.before(at.info.Route, at.info.Stage)
	switch {
	case len(names) == 0:
		return nil
	case at != d:
		return fmt.Errorf("route %s changes events before its poison queue (%s), and a replay from another route would leave that out while it runs; "+
			"stop its engine and replay without it", at.info.Route, strings.Join(names, ", "))
	}
	rest := stage.PoisonReplay{PoisonSelection: req.PoisonSelection}
	rest.DryRun, rest.Filter = true, both(refusedBy(names), req.Filter)
	var report stage.PoisonReport
	if err := d.post(ctx, "replay", rest, &report); err != nil {
		return err
	}
	req.Filter = both("not ("+refusedBy(names)+")", req.Filter)
	if report.Selected > 0 {
		fmt.Fprintf(p.err, "%s: %s bad events were refused before they came to the queue, where a replay begins while the route runs; "+
			"they stay, and go through %s when they are replayed without its engine\n", d.info.Route, thousands(report.Selected), strings.Join(names, ", "))
		sum.report.Selected += report.Selected
		sum.report.Left += report.Selected
	}
	return nil
}
