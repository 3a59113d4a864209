package generator

import (
	"strings"

	"millrace/engine/stage"
)

const (
	// maxTexts bounds the texts of all fields of a content: a short one can
	// mean many, since each option of a field has its prefix.
	maxTexts = 16 << 20
	// maxRefs bounds how many fields refer to one another in a row.
	maxRefs = 100
	// textHead is what an option needs beside its bytes.
	textHead = 16
)

// room is what the texts of fields take up.
type room struct {
	taken int
	p     *stage.Problems
}

// holds takes n bytes of the room for the field at a key; false: they do not
// fit, which has been reported.
func (r *room) holds(at string, n int) bool {
	if n > maxTexts-r.taken {
		r.p.Add(at, "must leave the texts of all fields, each with its prefix, within %v together, got %v before and %v here",
			stage.Size(maxTexts), stage.Size(r.taken), stage.Size(n))
		return false
	}
	r.taken += n
	return true
}

// textBytes is how many bytes the prefix and the options of a field take up.
func (c Field) textBytes() int {
	n := len(c.Prefix) + (len(c.Choice)+len(c.Weighted))*(len(c.Prefix)+textHead)
	for _, o := range c.Choice {
		n += len(o)
	}
	for o := range c.Weighted {
		n += len(o)
	}
	return n
}

// textBytes is how many bytes the texts of the field take up behind another
// prefix of so many.
func (f *field) textBytes(prefix int) int {
	n := len(f.prefix) + prefix + len(f.options)*(prefix+textHead)
	for _, o := range f.options {
		n += len(o)
	}
	return n
}

// resolve makes the fields that refer to others what those are: they draw by
// the same salt, and so the same.
func resolve(c map[string]Field, names []string, fields map[string]*field, room *room) {
	for _, name := range names {
		if c[name].Ref == "" {
			continue
		}
		at := "content.fields." + name + ".ref"
		target, prefixes, bytes := chain(c, name)
		switch {
		case fields[target] == nil:
			room.p.Add(at, "must be the name of another field, got %q; fields are %v", target, names)
		case c[target].Ref != "" && len(prefixes) > len(names):
			room.p.Add(at, "goes round in a circle, got %q", c[name].Ref)
		case c[target].Ref != "":
			room.p.Add(at, "goes on for more than %d fields, or round in a circle, got %q", maxRefs, c[name].Ref)
		case c[name].Session:
			room.p.Add(at, "cannot have session beside it: the value is shared as far as that of %q is", target)
		case room.holds(at, fields[target].textBytes(bytes)):
			same := *fields[target].prefixed(strings.Join(prefixes, ""))
			same.name = name
			*fields[name] = same
		}
	}
}

// chain follows the references of a field to the one that has none; as far as
// there can be. Prefixes are those on the way, of so many bytes together.
func chain(c map[string]Field, name string) (target string, prefixes []string, bytes int) {
	target = name
	for to := c[name]; to.Ref != "" && len(prefixes) < min(len(c)+1, maxRefs); to = c[target] {
		target, prefixes, bytes = to.Ref, append(prefixes, to.Prefix), bytes+len(to.Prefix)
	}
	return target, prefixes, bytes
}

// prefixed is the field with a prefix before its own.
func (f *field) prefixed(prefix string) *field {
	same := *f
	same.prefix = prefix + f.prefix
	same.options = nil
	for _, o := range f.options {
		same.options = append(same.options, prefix+o)
	}
	return &same
}
