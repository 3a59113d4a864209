package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/internal/evidence"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func event(n int) evidence.Event {
	return evidence.Event{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)), Text: evidence.Text{Message: fmt.Sprint("event ", n)},
		Attributes: []evidence.Attribute{{Key: "n", Value: fmt.Sprint(n), Type: "int"}}}
}

// What is done to a sink is found, event by event, whatever else is done to it.
func TestEveryWrongIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New()
		var sink []evidence.Event
		var want Verdict
		for n := range rapid.IntRange(0, 50).Draw(t, "events") {
			e := event(n)
			fate := rapid.SampledFrom([]string{"fine", "missing", "unaccepted", "lost unaccepted", "spurious", "corrupted", "twice"}).Draw(t, "fate")
			if fate != "spurious" {
				l.Issue(&e)
			}
			if fate != "spurious" && fate != "unaccepted" && fate != "lost unaccepted" {
				l.Accept(e.ID)
				l.Accept(e.ID)
				want.Obligations++
			}
			switch fate {
			case "missing":
				want.Missing++
			case "spurious":
				want.Spurious++
			case "corrupted":
				want.Corrupted++
				e.Attributes = []evidence.Attribute{{Key: "n", Value: fmt.Sprint(n), Type: "string"}}
			case "twice":
				want.Duplicates++
				sink = append(sink, e)
			}
			if fate != "missing" && fate != "lost unaccepted" {
				sink = append(sink, e)
			}
		}
		want.Found = len(sink)
		got := l.Judge(rapid.Permutation(sink).Draw(t, "order"))
		got.examples = nil
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		bad := want.Missing+want.Spurious+want.Corrupted > 0
		if (got.Err(false) != nil) != bad || (got.Err(true) != nil) != (bad || want.Duplicates > 0) {
			t.Fatalf("%+v: %v, %v", got, got.Err(false), got.Err(true))
		}
		if l.Obligations() != want.Obligations {
			t.Fatalf("%d obligations, want %d", l.Obligations(), want.Obligations)
		}
	})
}

func TestAnIDIsIssuedOnce(t *testing.T) {
	l := New()
	e := event(1)
	l.Issue(&e)
	defer func() {
		if recover() == nil {
			t.Error("a second event with the same id was issued")
		}
	}()
	l.Issue(&e)
}

func TestTheSumCoversAllThatAnEventSays(t *testing.T) {
	base := event(1)
	changes := map[string]func(*evidence.Event){
		"time":      func(e *evidence.Event) { e.Time = e.Time.Add(1000) },
		"message":   func(e *evidence.Event) { e.Text.Message += " " },
		"field":     func(e *evidence.Event) { e.Text.Source = "x" },
		"attribute": func(e *evidence.Event) { e.Attributes[0].Value = "2" },
		"type":      func(e *evidence.Event) { e.Attributes[0].Type = "float" },
	}
	for name, change := range changes {
		e := base
		e.Attributes = slices.Clone(base.Attributes)
		change(&e)
		if e.Sum() == base.Sum() {
			t.Errorf("a change of %s does not show", name)
		}
	}
}
