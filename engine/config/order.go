package config

import (
	"fmt"

	"millrace/engine/stage"
)

// checkOrder warns of stages that stand where they cannot serve their purpose.
// nodes are the routes in the file, in the order of the routes.
func (b *builder) checkOrder(nodes []*node) {
	keepers := b.keepers()
	for i := range b.out.Routes {
		r := &b.out.Routes[i]
		o := order{builder: b, route: r, body: nodes[i], path: join("routes", r.Name)}
		o.chain(nil, r.Middleware, &r.Sink)
		o.drops(keepers[r.Name])
	}
}

// order looks at one route.
type order struct {
	*builder
	route *Route
	body  *node
	path  string
}

// wrongOrders are what an inner stage loses by standing inside of an outer one.
var wrongOrders = []struct {
	outer, inner stage.Role
	atOuter      bool // the outer one is named as the one to move
	why          string
}{
	{stage.Retries, stage.StoresBad, false, "stands inside of %s, so it does not get what that gives up; put it before"},
	{stage.Breaks, stage.Retries, true, "stands outside of %s, so it sees one call however often that tries, and opens late; put it behind"},
	{stage.Retries, stage.Limits, false, "stands inside of %s, so waiting for the limit uses up the time of an attempt; put it before"},
	{stage.Breaks, stage.Limits, false, "stands inside of %s, so waiting for the limit counts as a slow call; put it before"},
}

// chain looks at the stages of a chain, which stands inside of outer ones.
func (o order) chain(outer, list []Step, end *Sink) {
	all := append(outer[:len(outer):len(outer)], list...)
	for i := len(outer); i < len(all); i++ {
		for _, before := range all[:i] {
			o.pair(before, all[i])
		}
	}
	for branch := range end.Branches() {
		o.chain(all, branch.Middleware, &branch.Sink)
	}
}

func (o order) pair(outer, inner Step) {
	for _, m := range wrongOrders {
		switch {
		case roleOf(outer) != m.outer || roleOf(inner) != m.inner:
		case m.atOuter:
			o.warn(outer.Pos, outer.Path, m.why, at(inner))
		default:
			o.warn(inner.Pos, inner.Path, m.why, at(outer))
		}
	}
}

// at names a stage and where it stands.
func at(s Step) string {
	if s.Pos.Line == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s (line %d)", s.Name, s.Pos.Line)
}

func placeOf(s Step) stage.Placement {
	if p, ok := s.Config.(stage.Placed); ok {
		return p.Place()
	}
	return stage.Placement{}
}

func roleOf(s Step) stage.Role { return placeOf(s).Role }

func (o order) warn(pos Pos, path, format string, args ...any) {
	o.report.put(Problem{Pos: pos, Path: path, Text: fmt.Sprintf(format, args...), Warning: true})
}

// drops warns of events that are taken out although their source, if it keeps
// them, could wait.
func (o order) drops(source *Step) {
	if source == nil {
		return
	}
	warn := func(key string, pos Pos, value string) {
		o.warn(o.body.find(key, pos), join(o.path, key),
			"%s loses events for good: the source %s cannot be told no and keeps them until they are settled, so they could wait", value, source.Name)
	}
	for step := range o.route.Steps() {
		if d := placeOf(step).Drops; d.Key != "" {
			warn(join(step.Path[len(o.path)+1:], d.Key), step.Pos, d.Value)
		}
	}
	if s := o.route.Spool; s != nil && s.Full != FullBlock {
		warn("spool.full", s.Pos, string(s.Full))
	}
}

// keepers are, for each route whose events a source keeps, that source: the
// route's own or the first in the file that feeds it, over others or not.
func (b *builder) keepers() map[string]*Step {
	routes := make(map[string]*Route, len(b.out.Routes))
	for i := range b.out.Routes {
		routes[b.out.Routes[i].Name] = &b.out.Routes[i]
	}
	keepers := map[string]*Step{}
	for i := range b.out.Routes {
		r := &b.out.Routes[i]
		if r.Source == nil || !placeOf(*r.Source).Keeps || keepers[r.Name] != nil {
			continue
		}
		keepers[r.Name] = r.Source
		for reached := []*Route{r}; len(reached) > 0; {
			from := reached[len(reached)-1]
			reached = reached[:len(reached)-1]
			for end := range from.Feeds() {
				if to := routes[end.Route]; to != nil && to.Source == nil && keepers[to.Name] == nil {
					keepers[to.Name] = r.Source
					reached = append(reached, to)
				}
			}
		}
	}
	return keepers
}
