package parse

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

// Events of one batch share memory; however many attributes each of them has,
// and had, none shows those of another.
func TestAttributesOfEventsOfABatchAreTheirOwn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		had := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 40).Draw(rt, "had")
		found := rapid.SliceOfN(rapid.IntRange(0, 70), 1, 7).Draw(rt, "found")
		p := open(t, config("json"))
		for range 2 { // the second time it knows how many attributes events have
			events, want := eventsWith(had, found)
			apply(t, p, events...)
			for i := range events {
				events[i].SetAttribute("later", event.String("a stage behind"))
			}
			if got := attributesOf(events); !slices.Equal(got, want) {
				rt.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

// eventsWith are events of which each says in all its attributes which one it is.
func eventsWith(had, found []int) (events []event.Event, attributes []string) {
	events = make([]event.Event, len(had))
	for i := range events {
		var fields []string
		for k := range had[i] {
			events[i].SetAttribute(fmt.Sprint("had", k), event.Int(int64(i)))
			attributes = append(attributes, fmt.Sprintf("had%d of event %d: %d", k, i, i))
		}
		for k := range found[i%len(found)] {
			fields = append(fields, fmt.Sprintf(`"found%d": %d`, k, i))
			attributes = append(attributes, fmt.Sprintf("found%d of event %d: %d", k, i, i))
		}
		events[i].Message = "{" + strings.Join(fields, ", ") + "}"
		attributes = append(attributes, fmt.Sprintf("later of event %d: a stage behind", i))
	}
	return events, attributes
}

func attributesOf(events []event.Event) (all []string) {
	for i, e := range events {
		for _, a := range e.Attributes {
			all = append(all, fmt.Sprintf("%s of event %d: %v", a.Key, i, a.Value.Any()))
		}
	}
	return all
}
