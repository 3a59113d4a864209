package config_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// store is a resource that may be a part of its process.
type store struct {
	Where string `yaml:"where"`
}

func (*store) Open(context.Context, stage.Settings) (io.Closer, error) { return nil, nil }
func (s *store) Local() (key, value string) {
	if s.Where == "here" {
		return "where", s.Where
	}
	return "", ""
}

// front is a resource that uses another.
type front struct {
	Store stage.Ref `yaml:"store" resource:"store"`
}

func (*front) Open(context.Context, stage.Settings) (io.Closer, error) { return nil, nil }

// shelf is a sink in a store.
type shelf struct {
	Store stage.Ref `yaml:"store" resource:"store,named"`
	Front stage.Ref `yaml:"front" resource:"front,named"`
}

func (*shelf) Open(context.Context, stage.Settings) (stage.Writer, error) { return nil, nil }

func divisible() []stage.Stage {
	return append(slices.Clone(catalogue),
		stage.Stage{Name: "store", Kind: stage.KindResource, New: func() any { return &store{} }},
		stage.Stage{Name: "front", Kind: stage.KindResource, New: func() any { return &front{} }},
		stage.Stage{Name: "shelf", Kind: stage.KindSink, New: func() any { return &shelf{} }})
}

const whole = `
pipeline: p
state: data/p
resources:
  shared: {kind: store, where: WHERE}
  own: {kind: store, where: here}
  gate: {kind: front, store: shared}
routes:
  a:
    source: {generator: {rate: 1/s}}
    sink: {shelf: {store: shared}}
  b:
    source: {generator: {rate: 1/s}}
    sink: {shelf: {front: gate}}
  c:
    source: {generator: {rate: 1/s}}
    sink: {broadcast: [{route: d}, {shelf: {store: own}}]}
  d:
    sink: {drop: {}}
`

func divide(where string, routes ...string) (*config.Pipeline, error) {
	return config.Parse(divisible(), "x.yaml", []byte(strings.ReplaceAll(whole, "WHERE", where)), config.Options{Only: routes})
}

func TestSomeRoutesAreAPipelineWithAStateOfItsOwn(t *testing.T) {
	p, err := divide("far", "d", "c", "c")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Routes) != 2 || p.Routes[0].Name != "c" || p.Routes[1].Name != "d" {
		t.Errorf("routes %v", p.Routes)
	}
	if p.State != "data/p/only/c+d" {
		t.Errorf("state %s", p.State)
	}
	if len(p.Resources) != 1 || p.Resources[0].Name != "own" {
		t.Errorf("the resources that nobody uses here are opened too: %v", p.Resources)
	}
	p, err = divide("far", "b")
	if err != nil || len(p.Resources) != 2 || p.Resources[0].Name != "shared" {
		t.Errorf("the resource behind a resource is missing: %v, %v", p, err)
	}
}

func TestWhatCannotBeDividedIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		where  string
		routes []string
		want   string
	}{
		"a local resource, behind another": {"here", []string{"b"},
			"x.yaml:5:3: resources.shared.where: here is only within one process, but b, which runs here, and a, which --only leaves out, share it: name one that both can reach"},
		"a route that is fed": {"far", []string{"d"},
			"x.yaml:17:32: routes.c: feeds the route d, but --only leaves this one out: name it too (--only d,c), or put a topic between them"},
		"a route that feeds": {"far", []string{"c"},
			"x.yaml:17:32: routes.c: feeds the route d, which --only leaves out: name it too (--only c,d), or put a topic between them"},
		"no route": {"far", []string{"a", "bb"}, `--only bb: there is no route "bb"; did you mean "b"?`},
	} {
		_, err := divide(c.where, c.routes...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", name, err, c.want)
		}
	}
	for _, routes := range [][]string{{"a", "b"}, {"a", "b", "c", "d"}} {
		if _, err := divide("here", routes...); err != nil {
			t.Errorf("%v, which share nothing with others: %v", routes, err)
		}
	}
}

func TestThePartOfManyRoutesHasAStateOfAShortName(t *testing.T) {
	text, names := "pipeline: x\nstate: s\nroutes:\n", []string{}
	for i := range 30 {
		names = append(names, fmt.Sprintf("route-with-a-name-%d", i))
		text += "  " + names[i] + ": {source: {generator: {}}, sink: {drop: {}}}\n"
	}
	seen := map[string]bool{}
	for _, only := range [][]string{names, names[1:], names[:29], names[:2]} {
		p := parse(t, text, config.Options{Env: env, Only: only})
		again := parse(t, text, config.Options{Env: env, Only: append(slices.Clone(only[1:]), only[0])})
		if base := filepath.Base(p.State); len(base) > 200 || seen[base] || again.State != p.State {
			t.Errorf("--only of %d routes: state %s, in another order %s", len(only), p.State, again.State)
		}
		seen[filepath.Base(p.State)] = true
	}
	if !seen["route-with-a-name-0+route-with-a-name-1"] {
		t.Errorf("the part of two routes is not named after them: %v", seen)
	}
}
