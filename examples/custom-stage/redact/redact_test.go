package redact_test

import (
	"testing"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages"

	"example.com/pipelines/redact"
)

// Every rule that the engine relies on, from redelivery to leaked goroutines.
func TestConformance(t *testing.T) {
	stagetest.Conformance(t, redact.Stage, stagetest.Options{Catalogue: append(stages.All(), redact.Stage)})
}

func TestCardNumbersAreMasked(t *testing.T) {
	c := redact.Stage.New().(*redact.Config)
	c.Pattern = `\d{16}`
	applier, err := c.Open(t.Context(), stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(stagetest.Events("card 4000123412341234 was charged", "nothing to hide"))
	if err := applier.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := b.Event(0).Message; got != "card *** was charged" {
		t.Errorf("got %q", got)
	}
	if got := b.Event(1).Message; got != "nothing to hide" {
		t.Errorf("got %q", got)
	}
}

func TestABadPatternIsFoundBeforeAnythingRuns(t *testing.T) {
	for _, pattern := range []string{"", "[a-"} {
		var problems stage.Problems
		(&redact.Config{Pattern: pattern}).Validate(&problems)
		if len(problems.Found) != 1 || problems.Found[0].Key != "pattern" {
			t.Errorf("%q: got %v", pattern, problems.Found)
		}
	}
}
