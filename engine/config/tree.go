package config

import (
	"strconv"
	"strings"
)

// kind is the form of a value.
type kind uint8

const (
	scalar kind = iota
	list
	dict
)

// node is a value that knows where it stands.
type node struct {
	kind kind
	pos  Pos

	text   string // of a scalar, as written
	tag    string // of a scalar: "!!null", "!!int", "!!str", …
	quoted bool   // a scalar that was written as text on purpose

	items   []*node // of a list
	entries []entry // of a dict, in the order of the file
}

// entry is a key and its value.
type entry struct {
	key   string
	pos   Pos // of the key
	value *node
	// stage is the kind of a named entry in a stage list: "limiter" although
	// the key is "per_host". "": not known here, or not such an entry.
	stage string
}

// get finds the entry of a key; nil if there is none.
func (n *node) get(key string) *entry {
	if n == nil || n.kind != dict {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// remove takes a key out and returns its entry, so that what is left can be
// decoded strictly. n is a dict.
func (n *node) remove(key string) *entry {
	for i, e := range n.entries {
		if e.key == key {
			n.entries = append(n.entries[:i:i], n.entries[i+1:]...)
			return &e
		}
	}
	return nil
}

// keys are the keys of a dict in order.
func (n *node) keys() []string {
	keys := make([]string, len(n.entries))
	for i, e := range n.entries {
		keys[i] = e.key
	}
	return keys
}

func (n *node) isNull() bool { return n.kind == scalar && n.tag == nullTag }

// describe names a value in a problem, shortened. It is asked where a value has
// the wrong form; that of a --set is not shown then, since nobody knows what it
// is.
func (n *node) describe() string {
	switch {
	case n.kind == list:
		return "a list"
	case n.kind == dict:
		return "a map"
	case n.isNull():
		return "nothing"
	case n.pos.Line == 0:
		return "a single value"
	default:
		return describeText(n.text, n.quoted || n.tag == stringTag)
	}
}

// describeText shows a scalar: text in quotes, numbers as written.
func describeText(text string, quote bool) string {
	if short := 60; len(text) > short {
		text = strings.ToValidUTF8(text[:short], "") + "…"
	}
	if quote {
		return strconv.Quote(text)
	}
	return text
}

// find goes down a path of keys and list indices as far as the file has it.
// It returns the place of the value, or of the key of the nearest ancestor
// that is there; fallback is the place of n's own key.
func (n *node) find(path string, fallback Pos) Pos {
	for at := fallback; ; {
		next, rest, pos := n.step(path)
		if next == nil {
			return at
		}
		if rest == "" {
			if next.kind == scalar && !next.isNull() {
				return next.pos
			}
			return pos
		}
		n, path, at = next, rest, pos
	}
}

// step goes down one key. Keys may hold dots ("retention.ms"), so the longest
// one that fits is taken.
func (n *node) step(path string) (next *node, rest string, pos Pos) {
	if n == nil || path == "" {
		return nil, "", Pos{}
	}
	if n.kind == list {
		first, rest, _ := strings.Cut(path, ".")
		i, err := strconv.Atoi(first)
		if err != nil || i < 0 || i >= len(n.items) {
			return nil, "", Pos{}
		}
		return n.items[i], rest, n.items[i].pos
	}
	for key := path; ; {
		if e := n.get(key); e != nil {
			return e.value, strings.TrimPrefix(path[len(key):], "."), e.pos
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			return nil, "", Pos{}
		}
		key = key[:dot]
	}
}
