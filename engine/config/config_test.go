package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/engine/config"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const smallest = `pipeline: x
routes:
  a:
    source: {generator: {}}
    sink: {drop: {}}
`

func parse(t *testing.T, text string, opts config.Options) *config.Pipeline {
	t.Helper()
	opts.Env = env
	p, err := config.Parse(catalogue, "pipelines/x.yaml", []byte(text), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func problemsOf(t *testing.T, err error) config.Problems {
	t.Helper()
	var problems *config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("want problems, got %v", err)
	}
	return *problems
}

func TestWhatCannotBeReadIsOneLine(t *testing.T) {
	folder := t.TempDir()
	large := filepath.Join(folder, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# ten bytes"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		large:                                 large + ": cannot be read: is 11.0 MiB large, the limit is 4MiB",
		folder:                                folder + ": cannot be read: is a directory",
		filepath.Join(folder, "nowhere.yaml"): filepath.Join(folder, "nowhere.yaml") + ": cannot be read: no such file or directory",
	} {
		if _, err := config.Load(catalogue, file, config.Options{}); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	_, err := config.Parse(catalogue, "x.yaml", bytes.Repeat([]byte("#"), 5<<20), config.Options{})
	if err == nil || err.Error() != "x.yaml: cannot be read: is 5.0 MiB large, the limit is 4MiB" {
		t.Errorf("got %v", err)
	}
}

func TestAProblemPrintsWhereWhichRuleAndValue(t *testing.T) {
	text := strings.Replace(smallest, "generator: {}", "generator: {rate: -5/s}", 1)
	_, err := config.Parse(catalogue, "pipelines/day2.yaml", []byte(text), config.Options{})
	problems := problemsOf(t, err)
	want := config.Problem{
		Pos:  config.Pos{File: "pipelines/day2.yaml", Line: 4, Column: 32},
		Path: "routes.a.source.generator.rate", Text: "must be above 0, got -5/s",
	}
	if len(problems) != 1 || problems[0] != want {
		t.Fatalf("got %#v", problems)
	}
	if got := err.Error(); got != "pipelines/day2.yaml:4:32: routes.a.source.generator.rate: must be above 0, got -5/s" {
		t.Errorf("prints %s", got)
	}
}

func TestWarningsStandAmongTheProblemsAndBesideAPipeline(t *testing.T) {
	loud := strings.Replace(smallest, "generator: {}", "generator: {loud: true}", 1)
	if p := parse(t, loud, config.Options{}); len(p.Warnings) != 1 || !p.Warnings[0].Warning {
		t.Errorf("warnings %v", p.Warnings)
	}
	_, err := config.Parse(catalogue, "x.yaml", []byte(loud+"zzz: 1\n"), config.Options{})
	if problems := problemsOf(t, err); len(problems) != 2 || !problems[0].Warning || problems[1].Warning {
		t.Errorf("problems %v", problems)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	p := parse(t, smallest, config.Options{})
	if p.Listen != "127.0.0.1:8080" || p.State != "data/x" || p.DrainTimeout != 30*time.Second || p.BaseDir != "pipelines" {
		t.Errorf("pipeline %+v", p)
	}
	want := config.Batch{Size: 500, Linger: 5 * time.Millisecond, Bytes: 1 << 20, MaxEvent: 1 << 20, InFlight: 4}
	if p.Routes[0].Batch != want {
		t.Errorf("batch %+v", p.Routes[0].Batch)
	}
}

func TestDefaultsOfAStageAreItsOwnInEveryPlace(t *testing.T) {
	p := parse(t, `pipeline: x
routes:
  a:
    source: {generator: {weights: {WARN: 2}, levels: [X]}}
    sink: {drop: {}}
  b:
    source: {generator: {}}
    sink: {drop: {}}
`, config.Options{})
	other := p.Routes[1].Source.Config.(*generator)
	if len(other.Weights) != 1 || !slices.Equal(other.Levels, []string{"INFO"}) {
		t.Errorf("one route's settings show in the other: %+v", other)
	}
}

func TestAVariableIsTextWhateverItHolds(t *testing.T) {
	text := `pipeline: x
resources: {kafka: {}}
routes:
  a:
    source: {generator: {content: {template: "${INJECTION}"}}}
    sink: {kafka: {topic: "${TOPIC}-${SIZE}"}}
`
	p := parse(t, text, config.Options{})
	injection, _ := env("INJECTION")
	if got := p.Routes[0].Source.Config.(*generator).Content.Template; got != injection {
		t.Errorf("got %q", got)
	}
	if got := p.Routes[0].Sink.Stage.Config.(*kafkaSink).Topic; got != "events-250" {
		t.Errorf("got %q", got)
	}
}

func TestAnEmptyVariableTakesTheDefaultAsInAShell(t *testing.T) {
	text := strings.Replace(smallest, "drop: {}", `kafka: {topic: "${EMPTY:-${UNSET:-a{b}c}}"}`, 1) + "resources: {kafka: {brokers: \"${EMPTY}\"}}\n"
	p := parse(t, text, config.Options{})
	if got := p.Routes[0].Sink.Stage.Config.(*kafkaSink).Topic; got != "a{b}c" {
		t.Errorf("got %q", got)
	}
	if got := p.Resources[0].Config.(*kafka).Brokers; got != "" {
		t.Errorf("an empty variable without default gave %q", got)
	}
	var names []string
	for _, d := range p.Replaced {
		names = append(names, d.Variable)
	}
	if !slices.Equal(names, []string{"UNSET", "EMPTY"}) {
		t.Errorf("replaced %v", names)
	}
}

func TestStepsAndFeedsAreListedInTheOrderOfTheChain(t *testing.T) {
	p, err := config.Load(catalogue, "testdata/good/ends.yaml", config.Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for s := range p.Route("a").Steps() {
		names = append(names, s.Name)
	}
	want := []string{
		"generator", "first", "limiter", "kafka", "backup.breaker", "backup.kafka", "drop",
		"by_level.loud.filter", "by_level.loud.kafka", "by_level.drop",
	}
	if !slices.Equal(names, want) {
		t.Errorf("steps %v", names)
	}
	for range p.Route("a").Steps() {
		break // a caller may stop anywhere
	}
	for end := range p.Route("a").Sink.Feeds() {
		if end.Route != "audit" {
			t.Errorf("feeds %q", end.Route)
		}
	}
	if p.Route("nowhere") != nil {
		t.Error("found a route that is not there")
	}
}

func TestAStageThatNeedsNoResourceMayStandBesideSeveral(t *testing.T) {
	text := `pipeline: x
resources:
  one: {kind: redis}
  two: {kind: redis}
routes:
  a:
    source: {generator: {}}
    middleware: [{limiter: {rate: 1/s}}, {name: second, limiter: {rate: 1/s, store: two}}]
    sink: {drop: {}}
`
	p := parse(t, text, config.Options{})
	var stores []stage.Ref
	for _, m := range p.Routes[0].Middleware {
		stores = append(stores, m.Config.(*limiter).Store)
	}
	if !slices.Equal(stores, []stage.Ref{"", "two"}) {
		t.Errorf("stores %q", stores)
	}
}

func TestASecretIsNeverInAProblem(t *testing.T) {
	text := `pipeline: x
token: ["${PASSWORD}"]
resources:
  sql: {dsn: "unusable:1", max: unusable:1}
  redis: {url: "${PASSWORD}", usable: 1}
routes:
  a:
    source: {generator: {content: {secrets: {a: "${PASSWORD}"}, template: ["${PASSWORD}"]}, rate: "${PASSWORD}"}}
    sink: {drop: {}}
`
	_, err := config.Parse(catalogue, "x.yaml", []byte(text), config.Options{Env: env})
	if len(problemsOf(t, err)) < 5 {
		t.Errorf("too few problems: %v", err)
	}
	for _, secret := range []string{"unusable", "hunter22"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is shown:\n%v", secret, err)
		}
	}
}

func TestTheNameOfASetDoesNotShowASecretEither(t *testing.T) {
	for _, set := range []string{
		"resources.sql.dsn=[hunter22]",
		"resources.sql={dsn: hunter22, mx: 1}",
		"resources.sql={kind: sqll, dsn: hunter22}",
		"resources.sql.dns=hunter22",
		"resources.sq.dsn=hunter22",
		"resources.sql.dsn=${hunter22",
		"resources.sql.dsn.x=hunter22",
		"resources.sql.dsn:hunter22",
		"resources.sql=hunter22",
		"resources.nokind.dsn=postgres://u:hunter22@h/db",
		"resources.a b.dsn=postgres://u:hunter22@h/db",
		"resources.wrong.dsn=hunter22",
		"resources=hunter22",
		"routes.typo.sink.drpo.token=hunter22",
		"token={a: hunter22}",
		"token=a: hunter22",
	} {
		resources := "resources: {sql: {}, nokind: , a b: , wrong: {kind: sqll}}\n"
		typo := "  typo: {source: {generator: {}}, sink: {drpo: }}\n"
		_, err := config.Parse(catalogue, "x.yaml", []byte(smallest+typo+resources), config.Options{Env: env, Set: []string{set}})
		if err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("--set %s: %v", set, err)
		}
	}
}

func TestASetIsTheTextThatTheShellGivesIt(t *testing.T) {
	for set, want := range map[string]string{
		"abc #def": "abc #def", "#abc": "#abc", "!x y": "!x y",
		"!!str 5": "!!str 5", "! 5": "! 5", "&a b": "&a b", "*abc": "*abc", "@abc": "@abc",
		"`abc": "`abc", "%abc": "%abc", "|": "|", "> x": "> x", "|\n  abc": "|\n  abc", "a\nb": "a\nb",
		"---": "---", "a\n---\nb": "a\n---\nb", "...": "...",
		"a: b: c": "a: b: c", "5": "5", "true": "true", `"5"`: "5", `'a b'`: "a b", `"a\tb"`: "a\tb", `"a" #b`: `"a" #b`, `'a' #b'`: `'a' #b'`,
		`"a" #b"`: `"a" #b"`, `"a\"b"`: `a"b`,
		"''": "", "": "", `a"b`: `a"b`, "it's": "it's", "a #": "a #", "&a {b: c}": "&a {b: c}", "!t [b]": "!t [b]", "0x1f": "0x1f", " abc ": "abc",
	} {
		p, err := config.Parse(catalogue, "x.yaml", []byte(smallest), config.Options{Env: env, Set: []string{"token=" + set}})
		if err != nil {
			t.Errorf("token=%s: %v", set, err)
		} else if string(p.Token) != want {
			t.Errorf("token=%s: %q, want %q", set, p.Token, want)
		}
	}
	for _, set := range []string{" ", "\t", "a: b", "[a", "\x01"} {
		if _, err := config.Parse(catalogue, "x.yaml", []byte(smallest), config.Options{Env: env, Set: []string{"token=" + set}}); err == nil {
			t.Errorf("token=%q is taken", set)
		}
	}
}
