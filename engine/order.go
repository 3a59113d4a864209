package engine

import (
	"slices"
	"strings"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// Edge says that what one route writes another reads.
type Edge struct {
	From, To string
	// Via is the thing between them ("kafka:kafka:log-events"), "" when From
	// hands its events to To directly.
	Via string
}

// Edges lists how the routes of a pipeline hang together: those that feed each
// other, and those that meet outside, by their stages' links.
func Edges(p *config.Pipeline) []Edge {
	var edges []Edge
	for i := range p.Routes {
		from := &p.Routes[i]
		for sink := range from.Feeds() {
			edges = append(edges, Edge{From: from.Name, To: sink.Route})
		}
		for written := range links(from, true) {
			for j := range p.Routes {
				for read := range links(&p.Routes[j], false) {
					if read == written {
						edges = append(edges, Edge{From: from.Name, To: p.Routes[j].Name, Via: read})
					}
				}
			}
		}
	}
	return edges
}

func links(r *config.Route, writes bool) map[string]bool {
	found := make(map[string]bool)
	for step := range r.Steps() {
		if l, ok := step.Config.(stage.Linker); ok {
			for _, link := range l.Links() {
				if link.Writes == writes {
					found[link.What] = true
				}
			}
		}
	}
	return found
}

// upstream maps each route to those that must end before it. Where routes
// write to each other in a circle, the edge that closes it is left out: one of
// them has to stop first.
func upstream(p *config.Pipeline) map[string][]string {
	up := make(map[string][]string)
	edges := Edges(p)
	// Routes that feed each other directly cannot form a circle, and who is fed
	// must not end before who feeds it: those edges come first.
	slices.SortStableFunc(edges, func(a, b Edge) int { return strings.Compare(a.Via, b.Via) })
	for _, e := range edges {
		if e.From != e.To && !reaches(up, e.From, e.To) {
			up[e.To] = append(up[e.To], e.From)
		}
	}
	return up
}

// reaches reports whether route to is among those that must end before from.
func reaches(up map[string][]string, from, to string) bool {
	for _, r := range up[from] {
		if r == to || reaches(up, r, to) {
			return true
		}
	}
	return false
}
