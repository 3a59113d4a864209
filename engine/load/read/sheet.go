package read

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// Sheet is what somebody sends to change a load.
type Sheet struct {
	// Plan is the profile; nil: there is none.
	Plan *load.Plan
	// Content says that there is a content.
	Content bool

	places *decoder
}

// The keys of a sheet, which are those of a source.
const (
	loadKey    = "load"
	contentKey = "content"
)

// SentSheet reads what was sent over the network: a profile, as Sent does, or a
// map with `load`, a profile, and `content`, what events are to say, or one of
// them. The content is decoded over what content, a pointer, holds. It may name
// the files that may allows. The error is a Problems.
func SentSheet(data []byte, content any, may Files) (*Sheet, error) {
	d := &decoder{places: map[string]place{}, may: may}
	s := &Sheet{places: d}
	root := d.document(data, "a profile has phases: [{constant: 5k/s}]")
	switch {
	case root == nil:
	case isSheet(root):
		d.sheet(s, root, content)
	default:
		s.Plan = d.sent(root, "")
	}
	if len(d.found) > 0 {
		return nil, d.found
	}
	return s, nil
}

// isSheet says whether a map has one of a sheet's keys, which are none of a
// profile's.
func isSheet(root *yaml.Node) bool {
	for i := 0; root.Kind == yaml.MappingNode && i < len(root.Content); i += 2 {
		if name := root.Content[i].Value; name == loadKey || name == contentKey {
			return true
		}
	}
	return false
}

func (d *decoder) sheet(s *Sheet, root *yaml.Node, content any) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		at := place{key.Line, key.Column}
		switch {
		case seen[key.Value]:
			d.fail(at, key.Value, "duplicate key")
		case key.Value == loadKey:
			s.Plan = d.sent(value, loadKey)
		case key.Value == contentKey:
			s.Content = true
			d.value(reflect.ValueOf(content).Elem(), value, contentKey, 0)
			d.allowed()
		default:
			d.fail(at, key.Value, "unknown key; known keys: content, load; what is of the profile stands under load")
		}
		seen[key.Value] = true
	}
}

// sent makes a plan of a profile that was sent; nil: something is wrong with
// it.
func (d *decoder) sent(root *yaml.Node, key string) *load.Plan {
	var profile load.Profile
	before := len(d.found)
	if d.value(reflect.ValueOf(&profile).Elem(), root, key, 0); len(d.found) > before {
		return nil
	}
	if profile.File != "" {
		file := join(key, "file")
		d.fail(d.places[file], file, "has no place in a profile that is sent; send what the file holds")
		return nil
	}
	if profile.Journal != "" {
		journal := join(key, "journal")
		d.fail(d.places[journal], journal, "cannot be played into a route that runs: a run begins with its first event; "+
			"give it in the pipeline file")
		return nil
	}
	if d.allowed(); len(d.found) > before {
		return nil
	}
	var found stage.Problems
	plan := Compile(profile, &found)
	for i, f := range found.Found {
		if found.Found[i].Key = join(key, f.Key); f.Key == "" {
			found.Found[i].Key = key
		}
	}
	if d.take(found); plan != nil {
		plan.Name = NameOf(profile, "")
	}
	return plan
}

// Content reads a content alone over what into, a pointer, holds. name is the
// file that it comes from, to which the files that it names are relative; ""
// for nowhere. It may name those that may allows. The error is a Problems.
func Content(name string, data []byte, into any, may Files) (*Sheet, error) {
	d := &decoder{file: name, places: map[string]place{}, may: may}
	if root := d.document(data, "a content has a template: service_logs"); root != nil {
		d.value(reflect.ValueOf(into).Elem(), root, contentKey, 0)
		d.allowed()
	}
	if len(d.found) > 0 {
		return nil, d.found
	}
	return &Sheet{Content: true, places: d}, nil
}

// Wrong gives the problems of what the sheet holds their places; nil: there
// are only warnings.
func (s *Sheet) Wrong(found stage.Problems) error {
	found.Found = slices.DeleteFunc(slices.Clone(found.Found), func(p stage.Problem) bool { return p.Warning })
	if s.places.take(found); len(s.places.found) > 0 {
		return s.places.found
	}
	return nil
}
