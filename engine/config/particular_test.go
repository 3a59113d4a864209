package config_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// remote is a sink that needs a store which other processes see, and a port
// that it shares on the same terms only.
type remote struct {
	Store stage.Ref `yaml:"store" resource:"store,optional"`
	Port  string    `yaml:"port"`
	Speed int       `yaml:"speed"`
}

func (*remote) Open(context.Context, stage.Settings) (stage.Writer, error) { return nil, nil }

func (r *remote) ValidateResources(p *stage.Problems, config func(stage.Ref) any) {
	s, ok := config(r.Store).(*store)
	switch {
	case !ok:
		p.Warn("store", "cannot be looked at")
	case s.Where == "here":
		p.Add("store", "must be elsewhere, and %s is here", r.Store)
	}
}

func (r *remote) Requires() []stage.Requirement {
	if r.Port == "" {
		return nil
	}
	return []stage.Requirement{{Key: "port", Shared: "port " + r.Port, Terms: r.Speed, Why: "speed must be the same"}}
}

func rightAndWrong(t *testing.T, yaml string) (problems, warnings string) {
	t.Helper()
	all := append(slices.Clone(divisible()), stage.Stage{Name: "remote", Kind: stage.KindSink, New: func() any { return &remote{} }})
	p, err := config.Parse(all, "p.yaml", []byte("pipeline: p\n"+yaml), config.Options{})
	if err != nil {
		return err.Error(), ""
	}
	for _, w := range p.Warnings {
		warnings += w.Text + "\n"
	}
	return "", warnings
}

func TestAStageLooksAtTheResourceThatItRefersTo(t *testing.T) {
	route := "routes: {r: {source: {generator: {rate: 1/s}}, sink: {remote: {STORE}}}}\n"
	for name, c := range map[string]struct{ resources, store, problem, warning string }{
		"right":           {"resources: {a: {kind: store, where: there}}", "store: a", "", ""},
		"wrong":           {"resources: {a: {kind: store, where: here}}", "store: a", "p.yaml:3:71: routes.r.sink.remote.store: must be elsewhere, and a is here", ""},
		"the only one":    {"resources: {a: {kind: store, where: here}}", "", "p.yaml:3:55: routes.r.sink.remote.store: must be elsewhere, and a is here", ""},
		"none":            {"resources: {}", "", "", "cannot be looked at"},
		"wrong by itself": {"resources: {a: {kind: store, wher: here}}", "store: a", "unknown key", ""},
	} {
		problems, warnings := rightAndWrong(t, c.resources+"\n"+strings.Replace(route, "STORE", c.store, 1))
		if !strings.Contains(problems, c.problem) || c.problem == "" && problems != "" || strings.Contains(problems, "is here") && !strings.Contains(c.problem, "is here") {
			t.Errorf("%s: %q, want %q", name, problems, c.problem)
		}
		if !strings.Contains(warnings, c.warning) || c.warning == "" && warnings != "" {
			t.Errorf("%s: warnings %q, want %q", name, warnings, c.warning)
		}
	}
}

func TestWhatIsSharedIsSharedOnTheSameTerms(t *testing.T) {
	sink := func(name, port, speed string) string {
		return "  " + name + ": {source: {generator: {rate: 1/s}}, sink: {remote: {port: " + port + ", speed: " + speed + "}}}\n"
	}
	resources := "resources: {a: {kind: store, where: there}}\nroutes:\n"
	if problems, _ := rightAndWrong(t, resources+sink("r", "x", "1")+sink("s", "x", "1")+sink("t", "y", "2")); problems != "" {
		t.Error(problems)
	}
	problems, _ := rightAndWrong(t, resources+sink("r", "x", "1")+sink("s", "x", "2"))
	if want := "routes.s.sink.remote.port: port x is shared with routes.r.sink.remote.port at p.yaml:4:"; !strings.Contains(problems, want) ||
		!strings.Contains(problems, ", so speed must be the same") {
		t.Errorf("says %q, want %q", problems, want)
	}
}
