package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"millrace/engine/stage"
)

// sinkWords are what the engine itself offers below `sink:`.
var sinkWords = keysOf[sinkKeys]()

// lookup finds a stage for a place in the file.
func (b *builder) lookup(name, noun string, pos Pos, path string, kinds ...stage.Kind) (stage.Stage, bool) {
	var known []string
	var elsewhere []stage.Kind
	for _, s := range b.catalogue {
		switch {
		case !slices.Contains(kinds, s.Kind):
			if s.Name == name && !slices.Contains(elsewhere, s.Kind) {
				elsewhere = append(elsewhere, s.Kind)
			}
		case s.Name == name:
			return s, true
		default:
			known = append(known, s.Name)
		}
	}
	if noun == "sink" {
		known = append(known, sinkWords...)
	}
	if len(elsewhere) > 1 { // that it can be shared as well is beside the point
		elsewhere = slices.DeleteFunc(elsewhere, func(k stage.Kind) bool { return k == stage.KindResource })
	}
	switch {
	case len(elsewhere) > 0:
		b.report.add(pos, path, "%q is %s, not a %s", name, kindList(elsewhere), noun)
	case noun == "resource":
		b.report.add(pos, path, "no kind of resource %q%s%s", name, DidYouMean(name, "known kinds", known), kindHint(path, name))
	default:
		b.report.add(pos, path, "no %s %q%s", noun, name, DidYouMean(name, "known", known))
	}
	return stage.Stage{}, false
}

// kindHint reminds of `kind:` where a resource's own name was taken for it.
func kindHint(path, name string) string {
	if strings.HasSuffix(path, "."+name) {
		return " (a name of your own needs kind: beside it)"
	}
	return ""
}

// kindList writes "a source and a sink".
func kindList(kinds []stage.Kind) string {
	parts := make([]string, len(kinds))
	for i, k := range kinds {
		parts[i] = "a " + string(k)
	}
	return strings.Join(parts, " and ")
}

// config makes a stage's Config: defaults, the file over them, references to
// resources, and the stage's own rules. self is the name of a resource, which
// cannot refer to itself. The decoder knows what else was found.
func (b *builder) config(st stage.Stage, n *node, path string, pos Pos, self string) (any, *decoder) {
	if bug := newBug(st); bug != "" {
		b.report.add(pos, path, "%s: a bug of the %s %s", bug, st.Kind, st.Name)
		return nil, nil
	}
	cfg := st.New()
	d := b.decode(cfg, n, path, pos)
	refs := &references{decoder: d, body: n, resources: b.kinds, self: self}
	refs.walk(reflect.ValueOf(cfg).Elem(), "")
	b.validate(cfg, n, d)
	return cfg, d
}

// newBug says what is wrong with a stage's New.
func newBug(st stage.Stage) string {
	if st.New == nil {
		return "New is missing"
	}
	cfg := st.New()
	if v := reflect.ValueOf(cfg); v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Sprintf("New must return a pointer to a struct, got %T", cfg)
	}
	ok := false
	switch st.Kind {
	case stage.KindSource:
		_, ok = cfg.(stage.Source)
	case stage.KindMiddleware:
		_, ok = cfg.(stage.Middleware)
	case stage.KindTransform:
		_, ok = cfg.(stage.Transform)
	case stage.KindSink:
		_, ok = cfg.(stage.Sink)
	case stage.KindResource:
		_, ok = cfg.(stage.Resource)
	}
	if !ok {
		return fmt.Sprintf("%T has no Open of a %s", cfg, st.Kind)
	}
	return ""
}

// validate asks the Config for broken rules and gives them their places. What
// decode has reported of a key is not said again.
func (b *builder) validate(cfg any, n *node, d *decoder) {
	var found stage.Problems
	if v, ok := cfg.(stage.Validator); ok {
		v.Validate(&found)
	}
	if v, ok := cfg.(stage.Particular); ok {
		v.ValidateResources(&found, b.resourceConfig)
	}
	for _, p := range found.Found {
		if d.reported(p.Key) {
			continue
		}
		if !p.Warning && absent(cfg, n, p.Key) {
			if d.meant[p.Key] {
				continue // it is there, mistyped: that has been reported
			}
			p.Text = missing(p)
		}
		b.report.put(Problem{
			Pos: n.find(p.Key, d.base), Path: join(d.prefix, p.Key), Text: p.Text, Warning: p.Warning,
		})
	}
}

// resourceConfig is the Config of a resource; nil: there is none that is right.
func (b *builder) resourceConfig(ref stage.Ref) any {
	for i := range b.out.Resources {
		if r := &b.out.Resources[i]; r.Name == string(ref) && !b.report.broken(r.Path) {
			return r.Config
		}
	}
	return nil
}

// reported says whether a key, one above it or one below it was reported.
func (d *decoder) reported(key string) bool {
	for bad := range d.bad {
		if bad == key || key == "" || bad == "" ||
			strings.HasPrefix(bad, key+".") || strings.HasPrefix(key, bad+".") {
			return true
		}
	}
	return false
}
