package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// setting is a value of a stage that any layer may set.
type setting struct {
	path  string
	yaml  func(value int) string // as a file writes it, for route a
	value func(*config.Pipeline) int
}

var settings = []setting{
	{"routes.a.batch.size", func(v int) string { return fmt.Sprintf("batch: {size: %d}", v) },
		func(p *config.Pipeline) int { return p.Routes[0].Batch.Size }},
	{"routes.a.batch.in_flight", func(v int) string { return fmt.Sprintf("batch: {in_flight: %d}", v) },
		func(p *config.Pipeline) int { return p.Routes[0].Batch.InFlight }},
	{"routes.a.middleware.limiter.rate", func(v int) string { return fmt.Sprintf("middleware: [{limiter: {rate: %d/s}}]", v) },
		func(p *config.Pipeline) int { return int(limiterOf(p, 0).Rate) }},
	{"routes.a.middleware.limiter.window", func(v int) string { return fmt.Sprintf("middleware: {limiter: {window: %dns}}", v) },
		func(p *config.Pipeline) int { return int(limiterOf(p, 0).Window) }},
	{"routes.a.middleware.second.rate", func(v int) string {
		return fmt.Sprintf("middleware: [{name: second, limiter: {rate: %d/s}}]", v)
	}, func(p *config.Pipeline) int { return int(limiterOf(p, 1).Rate) }},
	{"routes.a.sink.broadcast.kafka.sink.kafka.partitions", func(v int) string {
		return fmt.Sprintf("sink: {broadcast: [{kafka: {partitions: %d}}]}", v)
	}, func(p *config.Pipeline) int {
		return int(p.Routes[0].Sink.Broadcast[0].Sink.Stage.Config.(*kafkaSink).Partitions)
	}},
}

func limiterOf(p *config.Pipeline, i int) *limiter {
	return p.Routes[0].Middleware[i].Config.(*limiter)
}

// as is how a --set writes a value: with the unit of its key.
func as(path string, v int) string {
	switch path[strings.LastIndexByte(path, '.')+1:] {
	case "rate":
		return fmt.Sprintf("%d/s", v)
	case "window":
		return fmt.Sprintf("%dns", v)
	default:
		return fmt.Sprint(v)
	}
}

const layered = `pipeline: x
resources: {kafka: {}}
routes:
  a:
    source: {generator: {}}
    batch: {size: 1, in_flight: 1}
    middleware: [{limiter: {rate: 1/s, window: 1ns}}, {limiter: {rate: 1/s}, name: second}]
    sink: {broadcast: [{kafka: {topic: t, partitions: 1}}, drop]}
`

// For every value the last layer that sets it wins, the other values stay,
// and the order of the stages is that of the file.
func TestTheLastLayerThatSetsAValueWins(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		opts := config.Options{Env: env}
		want := make([]int, len(settings))
		for i := range want {
			want[i] = 1
		}
		choose := func(i int) (int, setting, int) {
			s := rapid.IntRange(0, len(settings)-1).Draw(t, fmt.Sprintf("setting %d", i))
			v := rapid.IntRange(1, 1000).Draw(t, fmt.Sprintf("value %d", i))
			want[s] = v
			return s, settings[s], v
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "overlays") {
			_, s, v := choose(i)
			file := filepath.Join(folder, fmt.Sprintf("%d.yaml", i))
			if err := os.WriteFile(file, []byte("routes:\n  a:\n    "+s.yaml(v)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			opts.Overlays = append(opts.Overlays, file)
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "sets") {
			_, s, v := choose(10 + i)
			opts.Set = append(opts.Set, s.path+"="+as(s.path, v))
		}
		p, err := config.Parse(catalogue, "x.yaml", []byte(layered), opts)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range settings {
			if got := s.value(p); got != want[i] {
				t.Errorf("%s is %d, want %d", s.path, got, want[i])
			}
		}
	})
}

// Whichever layer a bad value stands in, the problem is there and nowhere
// else; and a good value above it makes it go away.
func TestAProblemIsInTheLayerThatWroteTheValue(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.IntRange(1, 4).Draw(t, "layers")
		bad := rapid.IntRange(0, layers-1).Draw(t, "bad layer")
		setTop := rapid.Bool().Draw(t, "the top layer is --set")
		opts := config.Options{Env: env}
		var where []string
		for i := range layers {
			value := fmt.Sprintf("%d/s", i+1)
			if i == bad {
				value = "-5/s"
			}
			if i == layers-1 && setTop {
				opts.Set = []string{"routes.a.middleware.limiter.rate=" + value}
				where = append(where, "--set "+opts.Set[0])
				break
			}
			file := filepath.Join(folder, fmt.Sprintf("%d.yaml", i))
			text := strings.Repeat("# a comment\n", i) + "routes: {a: {middleware: [{limiter: {rate: " + value + "}}]}}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			opts.Overlays = append(opts.Overlays, file)
			where = append(where, fmt.Sprintf("%s:%d:44", file, i+1))
		}
		_, err := config.Parse(catalogue, "x.yaml", []byte(layered), opts)
		if bad < layers-1 {
			if err != nil {
				t.Errorf("a value that was replaced is still complained about: %v", err)
			}
			return
		}
		want := where[bad] + ": routes.a.middleware.limiter.rate: must be above 0, got -5/s"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}

func TestAFileNamedInAnOverlayIsRelativeToTheOverlay(t *testing.T) {
	p, err := config.Load(catalogue, "testdata/good/overlay.yaml", config.Options{
		Env: env, Overlays: []string{"testdata/layers/lab.yaml"},
		Set: []string{"routes.a.source.generator.content.named.x.note=n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Routes[0].Source.Config.(*generator).Content.File; got != stage.Path("testdata/layers/lab.txt") {
		t.Errorf("got %s", got)
	}
	p, err = config.Load(catalogue, "testdata/good/overlay.yaml", config.Options{
		Env: env, Set: []string{"routes.a.source.generator.content.file=here.txt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Routes[0].Source.Config.(*generator).Content.File; got != "here.txt" {
		t.Errorf("a --set path must be relative to the working directory, got %s", got)
	}
}

func TestAKeyWithNothingBelowItChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nothing.yaml")
	text := "resources:\n  kafka:\nroutes:\n  a:\n    batch:\n    middleware: [limiter, {name: second, limiter: }]\n    sink:\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Parse(catalogue, "x.yaml", []byte(layered), config.Options{Env: env, Overlays: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if got := s.value(p); got != 1 {
			t.Errorf("%s became %d", s.path, got)
		}
	}
}
