package docs_test

import (
	"testing"

	"millrace/engine/config/docs"
	"millrace/engine/config/docs/testdata/sample"
	"millrace/engine/load"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestAStageIsDocumentedByItsCommentsAndDefaults(t *testing.T) {
	d := docs.Of(sample.Stage)
	if d.Summary != "The source that shows what can be documented: one field of each kind." {
		t.Errorf("summary %q", d.Summary)
	}
	if want := "Package sample is the source that shows what can be documented: one field of\neach kind. This is the second sentence.\n\nAnd this a second paragraph.\n"; d.Description != want {
		t.Errorf("description %q", d.Description)
	}
	if d.Example != "# shows nothing\n" {
		t.Errorf("example %q", d.Example)
	}
	want := []docs.Field{
		{"rate", "rate", "5k/s", "How many. Two\nlines.", false},
		{"wait", "duration", "1m", "How long to wait.", false},
		{"levels", "list of text", "[INFO, WARN]", "high, low (the usual) or none.", false},
		{"weights", "map of number", "{a: 1.5, b: 2}", "", false},
		{"secret", "secret", "[redacted]", "", false},
		{"resource", "name of a kafka resource", "", "", false},
		{"nested", "map", "", "", false},
		{"nested.share", "percentage", "50%", "Share of the events.", false},
		{"nested.note", "text", "", "Inline.", false},
		{"parts", "list of text or map", "[{size: 5}]", "", false},
		{"parts[].size", "size", "", "Size of the part.", false},
		{"by_name", "map of text or map", "", "by_name finds Parts; without by_name there is no Rate.", false},
		{"by_name.<name>.size", "size", "", "Size of the part.", false},
		{"optional", "text or map", "", "", false},
		{"optional.size", "size", "0", "Size of the part.", false},
		{"free", "anything", "", "", false},
		{"on", "true or false", "false", "", false},
		{"tree", "map", "", "", false},
		{"tree.below", "list of map", "", "More of the same.", false},
	}
	for i := range max(len(want), len(d.Fields)) {
		switch {
		case i >= len(d.Fields):
			t.Errorf("missing %+v", want[i])
		case i >= len(want):
			t.Errorf("too many: %+v", d.Fields[i])
		case d.Fields[i] != want[i]:
			t.Errorf("got  %+v\nwant %+v", d.Fields[i], want[i])
		}
	}
}

func TestAStageThatEmbedsNoFilesStillShowsItsKeys(t *testing.T) {
	for _, broken := range []func() any{nil, func() any { return nil }, func() any { return 5 }} {
		if d := docs.Of(stage.Stage{New: broken}); len(d.Fields) > 0 {
			t.Errorf("keys of a stage without a Config: %+v", d)
		}
	}
	bare := stage.Stage{Name: "bare", Kind: stage.KindSource, New: sample.Stage.New}
	d := docs.Of(bare)
	if d.Summary != "" || d.Example != "" || len(d.Fields) == 0 || d.Fields[0].Default != "5k/s" {
		t.Errorf("got %+v", d)
	}
}

func TestATypeOfAnotherPackageIsDocumentedWhenItHandsOutItsComments(t *testing.T) {
	type config struct {
		Load load.Profile `yaml:"load"`
	}
	found := map[string]string{}
	for _, f := range docs.Of(stage.Stage{Name: "s", Kind: stage.KindSource, New: func() any { return &config{} }}).Fields {
		found[f.Key] = f.Comment
	}
	if got := found["load.phases[].spike.peak"]; got != "The rate at the top." {
		t.Errorf("load.phases[].spike.peak: %q of %v", got, found)
	}
}
