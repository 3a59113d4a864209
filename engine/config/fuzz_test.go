package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/engine/config"
)

// Whatever is in a file or a --set: no panic, either a pipeline or problems,
// each on one line and with its place.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"bad", "good"} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data), "routes.a.middleware.limiter.rate=5/s")
		}
	}
	f.Add(smallest, `routes.a."sink"={broadcast: [drop, {kafka: {}}]}`)
	f.Add(smallest, "routes.a.sink.drop.x.y=&a [*a]")
	f.Add(layered, "routes.a.sink.broadcast=[{switch: {x: {when: 'true', sink: {route: a}}}}]")
	f.Fuzz(func(t *testing.T, text, set string) {
		if strings.Contains(text+set, "file:") {
			return // not the machine's files
		}
		p, err := config.Parse(catalogue, "x.yaml", []byte(text), config.Options{Env: env, Set: []string{set}})
		if (p == nil) == (err == nil) {
			t.Fatalf("pipeline %v, error %v", p, err)
		}
		if err == nil {
			dump(p)
			return
		}
		var problems *config.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("not problems: %v", err)
		}
		for _, problem := range *problems {
			if problem.File == "" || problem.Text == "" || problem.Line < 0 || problem.File == "x.yaml" && problem.Line == 0 {
				t.Errorf("no place or no text: %#v", problem)
			}
			if strings.ContainsAny(problem.Text, "\n\r") {
				t.Errorf("more than a line: %q", problem.Text)
			}
		}
	})
}
