package config

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"millrace/engine/stage"
)

// only makes a pipeline of some of the routes of another, to be run as a
// process of its own, beside others with the rest. The parts must not share
// what only exists within a process: a route's hand-over to another, or a
// resource that each would have for itself. Its state is its own.
type only struct {
	report *report
	whole  *Pipeline
	names  []string // of the routes that are kept
}

// keepOnly leaves out the routes that are not named. What is wrong is reported.
func keepOnly(r *report, p *Pipeline, names []string) *Pipeline {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	o := only{r, p, names}
	o.known()
	for i := range p.Routes {
		o.feeds(&p.Routes[i])
	}
	part := *p
	part.Routes, part.Resources = nil, nil
	part.Whole = p.State
	part.State = filepath.Join(p.State, "only", partName(names))
	here, elsewhere := map[string]string{}, map[string]string{}
	for _, route := range p.Routes {
		if o.kept(route.Name) {
			part.Routes = append(part.Routes, route)
			o.note(&route, here)
		} else {
			o.note(&route, elsewhere)
		}
	}
	for _, res := range p.Resources {
		if here[res.Name] != "" {
			part.Resources = append(part.Resources, res)
			o.shared(res, here[res.Name], elsewhere[res.Name])
		}
	}
	return &part
}

// partName names the state of a part by its routes, in order. The names of many
// would be longer than a file system takes (255 bytes), so a sum stands for them.
func partName(routes []string) string {
	const most = 200
	all := strings.Join(routes, "+")
	if len(all) <= most {
		return all
	}
	return fmt.Sprintf("%d_routes_%x", len(routes), sha256.Sum256([]byte(all)))
}

func (o *only) kept(route string) bool { return slices.Contains(o.names, route) }

// known reports names that are no route's.
func (o *only) known() {
	var routes []string
	for _, r := range o.whole.Routes {
		routes = append(routes, r.Name)
	}
	for _, name := range o.names {
		if !slices.Contains(routes, name) {
			o.report.add(Pos{File: "--only " + name}, "", "there is no route %q%s", name, DidYouMean(name, "routes", routes))
		}
	}
}

// feeds reports hand-overs between a route that is kept and one that is not.
func (o *only) feeds(r *Route) {
	for end := range r.Feeds() {
		path := join("routes", r.Name)
		switch {
		case o.kept(r.Name) && !o.kept(end.Route):
			o.report.add(end.Pos, path,
				"feeds the route %s, which --only leaves out: name it too (--only %s,%s), or put a topic between them",
				end.Route, strings.Join(o.names, ","), end.Route)
		case !o.kept(r.Name) && o.kept(end.Route):
			o.report.add(end.Pos, path,
				"feeds the route %s, but --only leaves this one out: name it too (--only %s,%s), or put a topic between them",
				end.Route, strings.Join(o.names, ","), r.Name)
		}
	}
}

// note remembers which resources a route uses, with a route that does.
func (o *only) note(r *Route, users map[string]string) {
	for step := range r.Steps() {
		for _, name := range refs(reflect.ValueOf(step.Config)) {
			o.use(name, r.Name, users)
		}
	}
}

// use remembers a resource and those that it uses itself.
func (o *only) use(name, route string, users map[string]string) {
	i := slices.IndexFunc(o.whole.Resources, func(r Resource) bool { return r.Name == name })
	if i < 0 || users[name] != "" {
		return
	}
	users[name] = route
	for _, below := range refs(reflect.ValueOf(o.whole.Resources[i].Config)) {
		o.use(below, route, users)
	}
}

// shared reports a resource that the parts could not share.
func (o *only) shared(r Resource, here, elsewhere string) {
	local, ok := r.Config.(stage.Local)
	if !ok || elsewhere == "" {
		return
	}
	key, value := local.Local()
	if key == "" {
		return
	}
	hint := "name one that both can reach"
	if _, ok := r.Config.(stage.Broker); ok {
		hint = "start one for all of them with `engine broker`, and set what it prints"
	}
	o.report.add(r.Pos, join(r.Path, key),
		"%s is only within one process, but %s, which runs here, and %s, which --only leaves out, share it: %s",
		value, here, elsewhere, hint)
}

// refs lists the resources that a Config uses.
func refs(v reflect.Value) (names []string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			names = refs(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			names = append(names, refs(v.Index(i))...)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			names = append(names, refs(v.MapIndex(k))...)
		}
	case reflect.Struct:
		for _, f := range Fields(v.Type()) {
			at := v.FieldByIndex(f.Index)
			if f.Type == typeRef && f.Resource != "" {
				names = append(names, at.String())
			} else {
				names = append(names, refs(at)...)
			}
		}
	}
	return names
}
