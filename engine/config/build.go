package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"millrace/engine/stage"
)

// builder makes the Pipeline out of the merged tree.
type builder struct {
	*loader
	out   *Pipeline
	kinds []resourceKind // of all resources, for references
	// guess says that the ends of a route could not be read, so that which
	// routes are fed is not known.
	guess bool
	// claims are what stages have for themselves, such as paths they serve.
	claims map[string]claim
}

func newBuilder(l *loader) *builder {
	return &builder{loader: l, out: &Pipeline{File: l.file, BaseDir: filepath.Dir(l.file)}, claims: map[string]claim{}}
}

// decode fills into from n; pos is the place of n's key.
func (b *builder) decode(into any, n *node, path string, pos Pos) *decoder {
	d := &decoder{report: b.report, env: b.opts.Env, prefix: path, base: pos, bad: map[string]bool{}, meant: map[string]bool{}, used: &b.out.Replaced}
	d.value(reflect.ValueOf(into).Elem(), n, "")
	return d
}

func (b *builder) pipeline(root *node) *Pipeline {
	c := defaultPipeline
	start := Pos{File: b.file, Line: 1, Column: 1}
	d := b.decode(&c, root, "", start)
	b.name(c, d, root, start)
	if root.get("state") == nil {
		c.State = "data/" + c.Pipeline
	}
	b.out.Name, b.out.Listen, b.out.State = c.Pipeline, c.Listen, c.State
	b.out.Token, b.out.DrainTimeout = c.Token, c.DrainTimeout.Std()
	b.checkTop(c, d, root, start)
	b.resources(c.Resources)
	b.routes(c.Routes, root, start)
	return b.out
}

var pipelinePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

func (b *builder) name(c pipelineConfig, d *decoder, root *node, start Pos) {
	switch {
	case d.bad["pipeline"]:
	case root.get("pipeline") == nil:
		d.fail(start, "pipeline", "is missing; give the pipeline a name")
	case !pipelinePattern.MatchString(c.Pipeline):
		d.fail(root.find("pipeline", start), "pipeline", "must be a name of lower-case letters, digits and -, got %q", c.Pipeline)
	}
}

func (b *builder) isMap(n *node, path, what string) bool {
	if n.kind == dict {
		return true
	}
	b.report.add(n.pos, path, "must be a map of %s, got %s", what, n.describe())
	return false
}

// resourceKind is what references need to know of a resource.
type resourceKind struct {
	name, kind string
	pos        Pos // of the kind
}

// resources are built in two turns, since they may refer to each other.
func (b *builder) resources(n *node) {
	if n == nil || n.isNull() || !b.isMap(n, "resources", "resources by name, such as {kafka: {brokers: embedded}}") {
		return
	}
	var good []entry
	for _, e := range n.entries {
		path := join("resources", e.key)
		e.value = body(e.value)
		b.checkKey(e, path)
		if b.isMap(e.value, path, "settings") {
			if k, ok := b.kind(e, path); ok {
				good, b.kinds = append(good, e), append(b.kinds, k)
			}
		}
	}
	for i, e := range good {
		b.resource(e, b.kinds[i])
	}
}

// kind takes `kind:` out of a resource.
func (b *builder) kind(e entry, path string) (k resourceKind, ok bool) {
	k = resourceKind{name: e.key, kind: e.key, pos: e.pos}
	given := e.value.remove("kind")
	if given == nil {
		return k, true
	}
	k.pos = given.value.pos
	return k, len(b.decode(&k.kind, given.value, path+".kind", given.pos).bad) == 0
}

func (b *builder) resource(e entry, k resourceKind) {
	path := join("resources", e.key)
	st, ok := b.lookup(k.kind, "resource", k.pos, path, stage.KindResource)
	if !ok {
		return
	}
	if cfg, _ := b.config(st, e.value, path, e.pos, e.key); cfg != nil {
		b.out.Resources = append(b.out.Resources, Resource{
			Name: e.key, Stage: st, Config: cfg.(stage.Resource), Path: path, Pos: e.pos,
		})
	}
}

// checkKey looks at a name that the file gives. What has a bad one is looked
// into all the same.
func (b *builder) checkKey(e entry, path string) {
	if !namePattern.MatchString(e.key) {
		b.report.add(e.pos, path, nameRule, e.key)
	}
}

func (b *builder) routes(n, root *node, start Pos) {
	switch {
	case n == nil || n.isNull() || n.kind == dict && len(n.entries) == 0:
		b.report.add(root.find("routes", start), "routes", "is missing: a pipeline needs at least one route")
		return
	case !b.isMap(n, "routes", "routes by name"):
		return
	}
	nodes := make([]*node, 0, len(n.entries))
	for _, e := range n.entries {
		b.checkKey(e, join("routes", e.key))
		b.out.Routes = append(b.out.Routes, b.route(e))
		nodes = append(nodes, e.value)
	}
	b.checkGraph()
	b.checkOrder(nodes)
}

func (b *builder) route(e entry) Route {
	path := join("routes", e.key)
	c := defaultRoute
	misplaced := b.misplaced(e.value, path)
	d := b.decode(&c, e.value, path, e.pos)
	b.checkBatch(c.Batch, d, e)
	r := Route{Name: e.key, Pos: e.pos, Batch: Batch{
		Size: c.Batch.Size, Linger: c.Batch.Linger.Std(), Bytes: c.Batch.Bytes,
		MaxEvent: c.Batch.MaxEvent, InFlight: c.Batch.InFlight,
	}}
	if c.Source != nil {
		r.Source = b.source(c.Source, join(path, "source"))
	}
	r.Middleware = b.chain(c.Middleware, join(path, "middleware"), "")
	if (misplaced || len(d.bad) > 0) && c.Sink == nil {
		b.guess = true // `snik:` or `switch:` has been reported
	} else {
		r.Sink = b.sink(c.Sink, join(path, "sink"), e.value.find("sink", e.pos), "")
	}
	b.checkLength(&r, path)
	r.Spool = b.spool(c.Spool, join(path, "spool"), e.value.find("spool", e.pos), c.Batch)
	b.checkSpool(&r, path)
	b.checkRequirements(&r, e.value, path)
	return r
}

// misplaced takes out of a route or a branch what belongs below its `sink:`.
func (b *builder) misplaced(n *node, path string) (found bool) {
	forms := map[string]string{"route": "other", "broadcast": "[{sink: …}, …]", "switch": "[{when: …, sink: …}, …]"}
	for _, word := range sinkWords {
		if n.get(word) == nil {
			continue
		}
		found = true
		b.report.add(n.remove(word).pos, join(path, word), "belongs below `sink:`, as sink: {%s: %s}; see `engine help sink`", word, forms[word])
	}
	return found
}

func (b *builder) source(n *node, path string) *Step {
	e, ok := b.only(n, path, "source")
	if !ok {
		return &Step{} // there is one, wrong as it is
	}
	s := b.step(e, "source", path, "", stage.KindSource)
	return &s
}

// only is the single entry of a place that holds one stage.
func (b *builder) only(n *node, path, noun string) (e entry, ok bool) {
	if n.kind == dict && len(n.entries) == 1 {
		return n.entries[0], true
	}
	hint := ""
	if noun == "sink" && n.kind == dict && len(n.entries) > 1 {
		hint = "; for several: broadcast: or switch:"
	}
	b.report.add(n.pos, path, "must be one %s, such as {kafka: {topic: events}}, got %s%s", noun, countKeys(n), hint)
	return e, false
}

func countKeys(n *node) string {
	switch {
	case n.kind != dict:
		return n.describe()
	case len(n.entries) == 0:
		return "none"
	default:
		return fmt.Sprintf("%d: %s", len(n.entries), strings.Join(n.keys(), ", "))
	}
}

func (b *builder) chain(n *node, path, branch string) []Step {
	if n == nil || n.isNull() {
		return nil
	}
	if n.kind != dict {
		b.report.add(n.pos, path, "must be a list of stages, such as [{limiter: {rate: 5k/s}}, breaker], got %s", n.describe())
		return nil
	}
	var steps []Step
	for _, e := range n.entries {
		steps = append(steps, b.step(e, "middleware", path, branch, stage.KindMiddleware, stage.KindTransform))
	}
	return steps
}

// step makes one stage of a chain, a source or a sink.
func (b *builder) step(e entry, noun, path, branch string, kinds ...stage.Kind) Step {
	path = join(path, e.key)
	s := Step{Name: join(branch, e.key), Path: path, Pos: e.pos}
	name := e.stage
	if name == "" {
		name = e.key
	}
	var ok bool
	if s.Stage, ok = b.lookup(name, noun, e.pos, path, kinds...); ok {
		var d *decoder
		if s.Config, d = b.config(s.Stage, e.value, path, e.pos, ""); d != nil {
			b.outlets(&s, d, e)
		}
	}
	return s
}

// outlets makes the sinks that a middleware has for itself.
func (b *builder) outlets(s *Step, d *decoder, e entry) {
	for _, o := range d.outlets {
		path := join(s.Path, o.key)
		o.sink = shapeSink(b.report, body(o.sink), path)
		made, ok := b.only(o.sink, path, "sink")
		switch {
		case !ok:
			b.guess = true
		case made.key == "broadcast" || made.key == "switch":
			b.guess = true
			b.report.add(made.pos, path, "must be one sink or {route: other}, got %s; the other route may have one", made.key)
		default:
			s.Outlets = append(s.Outlets, Outlet{Key: o.key, Sink: b.sink(o.sink, path, e.value.find(o.key, e.pos), s.Name)})
		}
	}
}

// sink makes the end of a route or a branch; at is the place of its key.
func (b *builder) sink(n *node, path string, at Pos, branch string) Sink {
	s := Sink{Pos: at}
	if n == nil || n.isNull() {
		b.guess = true
		b.report.add(at, path, "is missing: every route and branch ends in a sink, such as {kafka: {topic: events}} or {route: other}")
		return s
	}
	e, ok := b.only(n, path, "sink")
	if !ok {
		b.guess = true
		return s
	}
	s.Pos = e.pos
	switch below := join(path, e.key); e.key {
	case "route":
		b.guess = len(b.decode(&s.Route, e.value, below, e.pos).bad) > 0 || b.guess
		s.Pos = e.value.pos
	case "broadcast":
		b.branches(e, below, func(e entry, path string) { s.Broadcast = append(s.Broadcast, b.broadcast(e, path, branch)) })
	case "switch":
		b.branches(e, below, func(e entry, path string) { s.Switch = append(s.Switch, b.switchCase(e, path, branch)) })
		b.checkSwitch(e.value, below)
	default:
		step := b.step(e, "sink", path, branch, stage.KindSink)
		if last := branch[strings.LastIndexByte(branch, '.')+1:]; last == e.key {
			step.Name = branch // a branch without a name of its own: "drop", not "drop.drop"
		}
		s.Stage = &step
		b.guess = b.guess || step.Stage.Name == ""
	}
	return s
}

// branches walks through the branches of a broadcast or a switch.
func (b *builder) branches(e entry, path string, branch func(entry, string)) {
	switch n := e.value; {
	case n.kind != dict && !n.isNull():
		b.guess = true
		b.report.add(n.pos, path, "must be a list of branches, such as [{sink: {kafka: {topic: x}}}], got %s", n.describe())
	case len(n.entries) == 0 && b.report.mentions(path):
		b.guess = true // there are some, but none of them can be read
	case len(n.entries) == 0:
		b.guess = true
		b.report.add(e.pos, path, "needs at least one branch")
	default:
		for _, e := range n.entries {
			b.checkKey(e, join(path, e.key))
			branch(e, join(path, e.key))
		}
	}
}

func (b *builder) broadcast(e entry, path, outer string) Branch {
	var c branchConfig
	if e.value.kind == dict {
		if when := e.value.remove("when"); when != nil {
			b.report.add(when.pos, path+".when", "only the cases of a `switch:` have conditions; a broadcast gives every event to each branch")
		}
	}
	misplaced := b.misplaced(e.value, path)
	if d := b.decode(&c, e.value, path, e.pos); (misplaced || len(d.bad) > 0) && c.Sink == nil {
		b.guess = true
		return Branch{}
	}
	return b.branch(c, e, path, outer)
}

func (b *builder) switchCase(e entry, path, outer string) Case {
	var c caseConfig
	misplaced := b.misplaced(e.value, path)
	if d := b.decode(&c, e.value, path, e.pos); (misplaced || len(d.bad) > 0) && c.Sink == nil {
		b.guess = true
		return Case{}
	}
	return Case{When: c.When, Branch: b.branch(c.branchConfig, e, path, outer)}
}

func (b *builder) branch(c branchConfig, e entry, path, outer string) Branch {
	name := join(outer, e.key)
	return Branch{
		Name: e.key, Pos: e.pos,
		Middleware: b.chain(c.Middleware, join(path, "middleware"), name),
		Sink:       b.sink(c.Sink, join(path, "sink"), e.value.find("sink", e.pos), name),
	}
}
