package stages_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"millrace/engine/stage"
	"millrace/stages"
)

type rule struct {
	of   string   // packages with this prefix
	may  []string // may import packages of ours with these prefixes
	nor  []string // though not those
	libs []string // and none of these libraries
}

// rules say which packages of ours may be imported by which. The first rule
// whose prefix fits decides.
var rules = []rule{
	{of: "millrace/engine/event", may: nil},
	{of: "millrace/engine/expression", may: []string{"millrace/engine/event"}},
	{of: "millrace/engine/stagetest", may: []string{"millrace/engine/"}, nor: []string{"millrace/engine/cli"}},
	{of: "millrace/engine/stage", may: []string{"millrace/engine/event"}},
	{of: "millrace/engine/config", may: []string{"millrace/engine/event", "millrace/engine/stage", "millrace/engine/expression", "millrace/engine/config"},
		nor: []string{"millrace/engine/stagetest"}},
	{of: "millrace/engine/load/", may: []string{"millrace/engine/load", "millrace/engine/stage", "millrace/pipelines/profiles"}},
	{of: "millrace/engine/load", may: []string{"millrace/engine/stage"}, libs: []string{"go.yaml.in/", "github.com/", "net"}},
	{of: "millrace/engine/cmd", may: []string{"millrace/engine/cli", "millrace/stages"}},
	{of: "millrace/engine", may: []string{"millrace/engine"}, nor: []string{"millrace/engine/stagetest"},
		libs: []string{"github.com/twmb/", "github.com/jackc/", "github.com/redis/"}},
	{of: "millrace/stages/internal/poison/connect", may: []string{"millrace/engine/stage", "millrace/stages/internal/poison", "millrace/stages/resource/"}},
	{of: "millrace/stages/internal/", may: []string{"millrace/engine/event", "millrace/engine/stage", "millrace/stages/internal/"},
		nor: []string{"millrace/engine/stagetest"}},
	{of: "millrace/stages/", may: []string{"millrace/engine/event", "millrace/engine/stage", "millrace/engine/expression", "millrace/engine/load", "millrace/stages/internal/", "millrace/stages/resource/"},
		nor: []string{"millrace/engine/stagetest"}},
	{of: "millrace/stages", may: []string{"millrace/stages/", "millrace/engine/stage"}, nor: []string{"millrace/engine/stagetest"}},
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "millrace/engine/...", "millrace/stages/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	packages := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages++
		i := slices.IndexFunc(rules, func(r rule) bool { return strings.HasPrefix(p.ImportPath, r.of) })
		if i < 0 {
			t.Errorf("no rule for %s", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			r, ours := rules[i], strings.HasPrefix(imported, "millrace/")
			if ours && (!begins(imported, r.may) || begins(imported, r.nor)) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
			if !ours && begins(imported, r.libs) {
				t.Errorf("%s must not import %s: the runtime knows no concrete service", p.ImportPath, imported)
			}
		}
	}
	if packages < 20 {
		t.Errorf("only %d packages were looked at", packages)
	}
}

func begins(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

func TestNamesAreUniqueWithinAKind(t *testing.T) {
	type key struct {
		kind stage.Kind
		name string
	}
	seen := make(map[key]bool)
	for _, s := range stages.All() {
		kind := s.Kind
		if kind == stage.KindTransform {
			kind = stage.KindMiddleware // they share a list
		}
		if k := (key{kind, s.Name}); seen[k] {
			t.Errorf("two stages are %s %s", s.Kind, s.Name)
		} else {
			seen[k] = true
		}
	}
}
