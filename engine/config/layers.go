package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// delimiter separates keys in koanf's paths and in ours; parse lets no key
// hold it.
const delimiter = "\x00"

// layers are the trees of the files, merged. koanf does the merging: maps key
// by key, everything else is replaced by the later layer. It sees maps and
// leaves only; a leaf is the number of a value in leaves. What koanf cannot
// carry, where keys stand and in which order, is kept beside it by path.
type layers struct {
	merged *koanf.Koanf
	leaves []*node
	beside map[string]origin
}

// origin is what is known of a key besides its value.
type origin struct {
	rank  int // place among its siblings: first come, first
	key   Pos
	value Pos
	stage string
	dict  bool
}

func newLayers() *layers {
	return &layers{merged: koanf.New(delimiter), beside: map[string]origin{}}
}

// add lays a tree over what is there.
func (l *layers) add(root *node) {
	l.replaceStages(root)
	if _, ok := l.beside[""]; !ok {
		l.beside[""] = origin{value: root.pos, dict: true}
	}
	// Neither can fail: confmap has the map in memory, and a merge that is not
	// strict takes everything.
	_ = l.merged.Load(confmap.Provider(l.maps("", root), ""), nil)
}

// maps writes a tree as koanf wants it and notes the rest.
func (l *layers) maps(path string, n *node) map[string]any {
	out := make(map[string]any, len(n.entries))
	for _, e := range n.entries {
		at := path + delimiter + e.key
		if e.value.isNull() && l.beside[at].dict {
			continue // a key with nothing below it does not empty a map
		}
		l.note(at, e)
		if e.value.kind == dict {
			out[e.key] = l.maps(at, e.value)
			continue
		}
		out[e.key] = len(l.leaves)
		l.leaves = append(l.leaves, e.value)
	}
	return out
}

// note keeps the place of a key: a map that is merged stays where it was, a
// value that is replaced moves to the new layer.
func (l *layers) note(at string, e entry) {
	old, known := l.beside[at]
	isDict := e.value.kind == dict
	now := origin{rank: len(l.beside), key: e.pos, value: e.value.pos, stage: e.stage, dict: isDict}
	if known {
		now.rank = old.rank
		now.stage = cmp.Or(e.stage, old.stage)
		if isDict && old.dict {
			now.key, now.value = old.key, old.value
		}
	}
	l.beside[at] = now
}

// tree is the merged whole; nil before the first layer.
func (l *layers) tree() *node {
	if _, ok := l.beside[""]; !ok {
		return nil
	}
	return l.node("", l.merged.Raw())
}

func (l *layers) node(path string, m map[string]any) *node {
	n := &node{kind: dict, pos: l.beside[path].value}
	for _, key := range slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Compare(l.beside[path+delimiter+a].rank, l.beside[path+delimiter+b].rank)
	}) {
		at := path + delimiter + key
		e := entry{key: key, pos: l.beside[at].key, stage: l.beside[at].stage}
		if sub, ok := m[key].(map[string]any); ok {
			e.value = l.node(at, sub)
		} else {
			e.value = l.leaves[m[key].(int)]
		}
		n.entries = append(n.entries, e)
	}
	return n
}

// replaceStages takes out of what is merged the stages that the next layer
// replaces by a stage of another kind. A sink `drop` laid over a sink `kafka`
// means the one instead of the other, not both.
func (l *layers) replaceStages(next *node) {
	now := l.tree()
	if now == nil {
		return
	}
	for _, e := range entriesOf(next.get("routes")) {
		if old := valueOf(valueOf(now.get("routes")).get(e.key)); old != nil {
			at := delimiter + "routes" + delimiter + e.key
			l.replaceOne(at+delimiter+"source", valueOf(old.get("source")), valueOf(e.value.get("source")))
			l.replaceEnd(at, old, e.value)
		}
	}
}

// replaceEnd looks at the middleware and the sink of a route or a branch.
func (l *layers) replaceEnd(at string, old, next *node) {
	chain := valueOf(old.get("middleware"))
	for _, e := range entriesOf(next.get("middleware")) {
		if was := chain.get(e.key); was != nil && e.stage != "" && e.stage != cmp.Or(was.stage, was.key) {
			l.forget(at + delimiter + "middleware" + delimiter + e.key)
		}
	}
	oldSink, nextSink := valueOf(old.get("sink")), valueOf(next.get("sink"))
	at += delimiter + "sink"
	if l.replaceOne(at, oldSink, nextSink) {
		return
	}
	for _, word := range []string{"broadcast", "switch"} {
		branches := valueOf(oldSink.get(word))
		for _, e := range entriesOf(nextSink.get(word)) {
			if was := branches.get(e.key); was != nil {
				l.replaceEnd(at+delimiter+word+delimiter+e.key, was.value, e.value)
			}
		}
	}
}

// replaceOne forgets the stage of a place that holds one stage if the next
// layer has only others there.
func (l *layers) replaceOne(at string, old, next *node) bool {
	if old == nil || next == nil || old.kind != dict || next.kind != dict || len(next.entries) == 0 {
		return false
	}
	for _, e := range next.entries {
		if old.get(e.key) != nil {
			return false
		}
	}
	for _, e := range old.entries {
		l.forget(at + delimiter + e.key)
	}
	return len(old.entries) > 0
}

// forget takes a value out, and what is known below it. The place among its
// siblings stays.
func (l *layers) forget(at string) {
	l.merged.Delete(strings.TrimPrefix(at, delimiter))
	rank := l.beside[at].rank
	maps.DeleteFunc(l.beside, func(path string, _ origin) bool {
		return path == at || strings.HasPrefix(path, at+delimiter)
	})
	l.beside[at] = origin{rank: rank}
}

func valueOf(e *entry) *node {
	if e == nil {
		return nil
	}
	return e.value
}

func entriesOf(e *entry) []entry {
	if e == nil {
		return nil
	}
	return e.value.entries
}
