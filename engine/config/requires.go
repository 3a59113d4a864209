package config

import "millrace/engine/stage"

// claim is what one stage of the pipeline has for itself.
type claim struct {
	path  string
	pos   Pos
	terms any // nil: it has it alone
}

// checkRequirements looks whether the stages of a route have what they need
// around them. n is the route in the file.
func (b *builder) checkRequirements(r *Route, n *node, path string) {
	for step := range r.Steps() {
		q, ok := step.Config.(stage.Requirer)
		if !ok {
			continue
		}
		for _, need := range q.Requires() {
			at := step.Path
			pos := n.find(join(step.Path[len(path)+1:], need.Key), step.Pos)
			if at = join(at, need.Key); b.report.mentions(at) {
				continue
			}
			if need.Spool && (r.Spool == nil || r.Spool.When != SpoolAlways) {
				b.report.add(pos, at, "%s, so the route needs a spool for all of them; give route %s `spool: {when: always}`", need.Why, r.Name)
			}
			if need.Alone != "" {
				b.alone(need.Alone, claim{path: at, pos: pos})
			}
			if need.Shared != "" {
				b.share(need, claim{at, pos, need.Terms})
			}
		}
	}
}

// alone lets the first stage that asks have what only one can have.
func (b *builder) alone(what string, c claim) {
	if first, taken := b.claims[what]; taken {
		b.report.add(c.pos, c.path, "%s is taken by %s at %s", what, first.path, first.pos)
		return
	}
	b.claims[what] = c
}

// share lets stages have the same thing on equal terms.
func (b *builder) share(need stage.Requirement, c claim) {
	first, taken := b.claims[need.Shared]
	switch {
	case !taken:
		b.claims[need.Shared] = c
	case first.terms != c.terms:
		b.report.add(c.pos, c.path, "%s is shared with %s at %s, so %s", need.Shared, first.path, first.pos, need.Why)
	}
}
