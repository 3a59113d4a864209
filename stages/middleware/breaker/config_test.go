package breaker

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/engine/config"
	"millrace/engine/config/docs"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
	resource "millrace/stages/resource/breaker"
	"millrace/stages/sink/drop"
	"millrace/stages/source/generator"
)

// catalogue is what the pipelines of these tests use.
func catalogue() []stage.Stage {
	return []stage.Stage{resource.Stage, generator.Stage, Stage, drop.Stage}
}

// check reads a pipeline whose routes have these breakers.
func check(t *testing.T, resources string, breakers ...string) (*config.Pipeline, string) {
	t.Helper()
	file := "pipeline: p\nresources: " + resources + "\nroutes:\n"
	for i, b := range breakers {
		file += "  r" + string(rune('0'+i)) + ":\n    source: {generator: {rate: 1/s}}\n    middleware:\n      - breaker: " + b + "\n    sink: drop\n"
	}
	p, err := config.Parse(catalogue(), "p.yaml", []byte(file), config.Options{})
	if err != nil {
		return nil, err.Error()
	}
	return p, ""
}

// of is the Config of the breaker in a route.
func of(p *config.Pipeline, route int) *Config {
	return p.Routes[route].Middleware[0].Config.(*Config)
}

func TestRoutesShareABreakerOnlyWhereTheySaySo(t *testing.T) {
	p, problems := check(t, "{orders-db: {kind: breaker, window: 10s}}",
		"{resource: orders-db, on_open: reject}", "{window: 20}", "{resource: orders-db, on_open: fail}")
	if problems != "" {
		t.Fatal(problems)
	}
	for route, want := range []string{"orders-db", "", "orders-db"} {
		switch c := of(p, route); {
		case string(c.Resource) != want:
			t.Errorf("route %d shares %q, want %q", route, c.Resource, want)
		}
	}
}

func TestSharingMistakesAreReportedWhereTheyStand(t *testing.T) {
	for _, c := range []struct{ resources, breaker, want string }{
		{"{orders-db: {kind: breaker}}", "{resource: order-db}", `p.yaml:7:29: routes.r0.middleware.breaker.resource: there is no resource "order-db"; did you mean "orders-db"?`},
		{"{d: {kind: breaker}}", "{resource: d, open_for: 5s, window: 10}", `p.yaml:7:42: routes.r0.middleware.breaker.open_for: belongs to the breaker "d", which this route shares: set it there, or leave resource out`},
		{"{d: {kind: breaker}}", "{resource: d, failure_rate: 50%}", `routes.r0.middleware.breaker.failure_rate: belongs to the breaker "d"`},
		{"{d: {kind: breaker, half_open_calls: 0}}", "{resource: d}", `p.yaml:2:49: resources.d.half_open_calls: must be at least 1`},
		{"{d: {kind: breaker, window: 5, min_calls: 10}}", "{resource: d}", `p.yaml:2:54: resources.d.min_calls: must be at most the window of 5 calls`},
		{"{}", "{half_open_calls: 0}", `routes.r0.middleware.breaker.half_open_calls: must be at least 1`},
		{"{}", "{on_open: panic}", `p.yaml:7:28: routes.r0.middleware.breaker.on_open: must be wait, reject, fail or {divert: {…}} with a sink, got "panic"`},
		{"{}", "{on_open: divert}", `divert needs a sink`},
		{"{}", "{on_open: {divert: {}}}", `routes.r0.middleware.breaker.on_open.divert: must be one sink, such as {kafka: {topic: events}}, got none`},
		{"{}", "{on_open: {divert: {dorp: {}}}}", `p.yaml:7:38: routes.r0.middleware.breaker.on_open.divert.dorp: no sink "dorp"; did you mean "drop"?`},
		{"{}", "{on_open: {divert: {drop: {rate: 5}}}}", `routes.r0.middleware.breaker.on_open.divert.drop.rate: unknown key`},
		{"{}", "{on_open: {divert: {route: r1}}}", `there is no route "r1"`},
		{"{}", "{on_open: {divert: {broadcast: [drop]}}}", `must be one sink or {route: other}, got broadcast; the other route may have one`},
		{"{}", "{record: [retryable, never]}", `routes.r0.middleware.breaker.record.1: must be one of`},
	} {
		if _, got := check(t, c.resources, c.breaker); !strings.Contains(got, c.want) {
			t.Errorf("%s with %s: got\n%s\nwant %s", c.breaker, c.resources, got, c.want)
		}
	}
}

func TestTheResourceHasTheSameRules(t *testing.T) {
	of := map[string]docs.Field{}
	for _, f := range docs.Of(resource.Stage).Fields {
		of[f.Key] = f
	}
	for _, f := range docs.Of(Stage).Fields {
		if f.Key == "resource" || strings.HasPrefix(f.Key, "on_open") {
			continue
		}
		if of[f.Key] != f || f.Comment == "" {
			t.Errorf("the stage has %+v\nthe resource %+v", f, of[f.Key])
		}
		delete(of, f.Key)
	}
	if len(of) > 0 {
		t.Errorf("only the resource has %v", of)
	}
}

func TestExplainSaysWhatItDoes(t *testing.T) {
	c := day2Config(func(c *Config) { c.OnOpen = OnOpen{word: onOpenReject} })
	x := c.Explain()
	if want := "for 5s once 50% of the last 10 calls failed or 100% of the last 10 calls took longer than 1m0s"; !strings.Contains(x.Does, want) {
		t.Errorf("%q, want %q", x.Does, want)
	}
	if !strings.Contains(x.Away, "rejected") || !strings.Contains(x.Away, "3 trial calls") {
		t.Errorf("%q", x.Away)
	}
	c = day2Config(func(c *Config) { c.OnOpen.Divert = "on_open.divert" })
	if x := c.Explain(); !strings.Contains(x.Away, "counted as diverted") {
		t.Errorf("%q", x.Away)
	}
	c = defaults()
	c.Resource = "orders-db"
	if x := c.Explain(); !strings.Contains(x.Does, `"orders-db"`) || strings.Contains(x.Does, time.Minute.String()) {
		t.Errorf("%q", x.Does)
	}
}

// Every rule reaches the breaker: a key that was forgotten on the way would be
// silently without effect.
func TestEveryRuleReachesTheBreaker(t *testing.T) {
	if got, want := *defaults().rules(), circuit.Defaults(); !reflect.DeepEqual(got, want) {
		t.Errorf("the defaults are %+v, want %+v", got, want)
	}
	c := defaults()
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"x"}))
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Float64:
			f.SetFloat(77)
		case reflect.Struct:
			if w := reflect.ValueOf(circuit.Window{Calls: 77}); f.Type() == w.Type() {
				f.Set(w)
			}
		default:
			f.SetInt(77)
		}
	}
	reached := reflect.ValueOf(*c.rules())
	for i := range reached.NumField() {
		name := reached.Type().Field(i).Name
		if !reflect.DeepEqual(reached.Field(i).Interface(), v.FieldByName(name).Interface()) {
			t.Errorf("%s is %v", name, reached.Field(i))
		}
	}
}
