package config

import (
	"regexp"
	"slices"
	"strconv"
)

// The shapers rewrite one layer so that everything a later layer may want to
// reach is a map by name:
//
//	middleware: [{limiter: {rate: 5/s}}, breaker]     {limiter: {rate: 5/s}, breaker: {}}
//	sink: {broadcast: [{kafka: {topic: x}}]}          {broadcast: {kafka: {sink: {kafka: {topic: x}}}}}
//
// What has the wrong form is left as it is: build reports it once, after the
// layers are merged. Only what cannot be put into a map is reported here.

// namePattern is what may name a route, a resource, a stage or a branch: names
// become metric labels, parts of addresses and keys of the state store.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

const nameRule = "must be a name of letters, digits, _ and -, got %q"

func shapePipeline(r *report, root *node) {
	routes := root.get("routes")
	if routes == nil || routes.value.kind != dict {
		return
	}
	for _, route := range routes.value.entries {
		path := join("routes", route.key)
		if e := route.value.get("source"); e != nil {
			e.value = shapeOne(e.value)
		}
		shapeEnd(r, route.value, path)
	}
}

// shapeEnd rewrites what routes and branches have in common.
func shapeEnd(r *report, n *node, path string) {
	if e := n.get("middleware"); e != nil {
		e.value = shapeChain(r, e.value, join(path, "middleware"))
	}
	if e := n.get("sink"); e != nil {
		e.value = shapeSink(r, e.value, join(path, "sink"))
	}
}

// shapeOne rewrites the place of a single stage: `drop` and `{drop: }` become
// `{drop: {}}`, so that laying them over a body does not wipe it.
func shapeOne(n *node) *node {
	if n.kind == scalar && n.tag == stringTag {
		return &node{kind: dict, pos: n.pos, entries: []entry{{key: n.text, pos: n.pos, value: emptyAt(n.pos)}}}
	}
	for i := range n.entries {
		n.entries[i].value = body(n.entries[i].value)
	}
	return n
}

func shapeSink(r *report, n *node, path string) *node {
	if n.kind == dict {
		for i := range n.entries {
			if e := &n.entries[i]; e.key == "broadcast" || e.key == "switch" {
				e.value = shapeBranches(r, e.value, join(path, e.key))
			}
		}
		if n.get("broadcast") != nil || n.get("switch") != nil || n.get("route") != nil {
			return n
		}
	}
	return shapeOne(n)
}

func emptyAt(pos Pos) *node { return &node{kind: dict, pos: pos} }

// body is the Config of a stage: nothing written means all defaults.
func body(n *node) *node {
	if n.isNull() {
		return emptyAt(n.pos)
	}
	return n
}

// shapeChain makes a map of a list of stages.
func shapeChain(r *report, n *node, path string) *node {
	if n.kind == dict { // already by name
		for i := range n.entries {
			n.entries[i].value = body(n.entries[i].value)
		}
		return n
	}
	if n.kind != list {
		return n
	}
	l := &names{report: r, path: path, taken: make(map[string]*taken, len(n.items))}
	out := emptyAt(n.pos)
	for _, item := range n.items {
		e, named, ok := stageEntry(r, item, path)
		if ok {
			out.entries = append(out.entries, l.told(e, named))
		}
	}
	return out
}

// stageEntry reads one entry of a list of stages: `{limiter: {…}, name: x}`.
func stageEntry(r *report, item *node, path string) (e entry, named, ok bool) {
	if item.kind == scalar && item.tag == stringTag {
		return entry{key: item.text, stage: item.text, pos: item.pos, value: emptyAt(item.pos)}, false, true
	}
	if item.kind != dict {
		r.add(item.pos, path, "each entry must be one stage, such as {limiter: {rate: 5k/s}}, got %s", item.describe())
		return e, false, false
	}
	name := item.remove("name")
	if len(item.entries) != 1 {
		r.add(item.pos, path, "each entry must be one stage, such as {limiter: {rate: 5k/s}}, got %d keys; indent its settings below the stage", len(item.entries))
		return e, false, false
	}
	e = item.entries[0]
	e.value, e.stage = body(e.value), e.key
	if name == nil {
		return e, false, true
	}
	e.key = name.value.text
	return e, true, goodName(r, name, path)
}

func goodName(r *report, name *entry, path string) bool {
	if v := name.value; v.kind != scalar || !namePattern.MatchString(v.text) {
		r.add(v.pos, join(path, "name"), nameRule, v.text)
		return false
	}
	return true
}

// names are those of one list.
type names struct {
	report *report
	path   string
	taken  map[string]*taken
}

// taken is a name that an entry has, and how many have asked for it so far.
type taken struct {
	pos   Pos
	asked int
}

// told is an entry with a name that is not taken yet in its list. That two have
// the same one is reported, and the second becomes "stdout_2", so that what is
// wrong inside of it is found too.
func (l *names) told(e entry, named bool) entry {
	first := l.taken[e.key]
	if first == nil {
		l.taken[e.key] = &taken{e.pos, 1}
		return e
	}
	first.asked++
	free := e.key + "_" + strconv.Itoa(first.asked)
	for l.taken[free] != nil {
		first.asked++
		free = e.key + "_" + strconv.Itoa(first.asked)
	}
	if !named {
		l.report.add(e.pos, join(l.path, e.key), "is the %s %s here, the first is at line %d; add `name:` beside it to tell them apart", ordinal(first.asked), e.key, first.pos.Line)
	} else {
		l.report.add(e.pos, join(l.path, e.key), "the name %q is taken at line %d", e.key, first.pos.Line)
	}
	e.key = free
	l.taken[free] = &taken{e.pos, 1}
	return e
}

// ordinal writes "second"; from ten on, numbers.
func ordinal(n int) string {
	words := [...]string{2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth"}
	if n < len(words) {
		return words[n]
	}
	suffix := "th"
	if tens := n / 10 % 10; tens != 1 && n%10 >= 1 && n%10 <= 3 {
		suffix = [...]string{1: "st", 2: "nd", 3: "rd"}[n%10]
	}
	return strconv.Itoa(n) + suffix
}

// shapeBranches makes a map of a list of branches.
func shapeBranches(r *report, n *node, path string) *node {
	if n.kind == dict { // already by name
		for _, e := range n.entries {
			shapeEnd(r, e.value, join(path, e.key))
		}
		return n
	}
	if n.kind != list {
		return n
	}
	l := &names{report: r, path: path, taken: make(map[string]*taken, len(n.items))}
	out := emptyAt(n.pos)
	for _, item := range n.items {
		e, named, ok := branchEntry(r, item, path)
		if ok {
			out.entries = append(out.entries, l.told(e, named))
		}
	}
	return out
}

// branchEntry reads one branch: `{name: x, when: …, middleware: […], sink:
// {…}}`, or only what would stand below its `sink:`.
func branchEntry(r *report, item *node, path string) (e entry, named, ok bool) {
	if item.kind == scalar && item.tag == stringTag {
		item = shapeOne(item)
	}
	if item.kind != dict {
		r.add(item.pos, path, "each entry must be a branch, such as {sink: {kafka: {topic: x}}}, got %s", item.describe())
		return e, false, false
	}
	name := item.remove("name")
	branch := item
	if item.get("sink") == nil && item.get("when") == nil && item.get("middleware") == nil {
		branch = emptyAt(item.pos)
		branch.entries = []entry{{key: "sink", pos: item.pos, value: item}}
	}
	e = entry{pos: item.pos, value: branch}
	if name != nil {
		e.key, ok = name.value.text, goodName(r, name, path)
	} else {
		e.key, ok = branchName(r, branch, path)
	}
	if ok {
		shapeEnd(r, branch, join(path, e.key))
	}
	return e, name != nil, ok
}

// branchName names a branch without `name:` after its sink: the stage, or the
// route that it feeds.
func branchName(r *report, branch *node, path string) (string, bool) {
	sink := branch.get("sink")
	switch {
	case sink == nil:
		r.add(branch.pos, path, "a branch needs `sink:`%s", below(branch))
		return "", false
	case sink.value.kind == scalar && sink.value.tag == stringTag:
		return sink.value.text, true
	case sink.value.kind != dict || len(sink.value.entries) != 1:
		r.add(sink.pos, join(path, "sink"), "must be one sink, such as {kafka: {topic: x}}, got %s", countKeys(sink.value))
		return "", false
	}
	only := sink.value.entries[0]
	if only.key == "route" && only.value.kind == scalar {
		return only.value.text, true
	}
	return only.key, true
}

// below says of a branch without `sink:` what is likely meant to be there: in
// `{when: …, kafka: {…}}`, kafka.
func below(branch *node) string {
	known := keysOf[branchKeys]()
	for _, e := range branch.entries {
		if !slices.Contains(known, e.key) && nearest(e.key, known) == "" {
			return ", with " + e.key + " below it: sink: {" + e.key + ": …}"
		}
	}
	return ""
}
