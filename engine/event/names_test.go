package event_test

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

func attributesOf(e *event.Event) map[string]event.Value {
	all := map[string]event.Value{}
	for _, a := range e.Attributes {
		all[a.Key] = a.Value
	}
	return all
}

func TestNamesSetAndRemoveAsTheEventDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e, want event.Event
		for i := range rapid.IntRange(0, 80).Draw(t, "before") {
			e.SetAttribute(fmt.Sprint(i), event.Int(int64(i)))
		}
		want = e.Share()
		before, branch := attributesOf(&e), e.Share()
		var names event.Names
		for i := range rapid.IntRange(0, 200).Draw(t, "calls") {
			key := fmt.Sprint(rapid.IntRange(0, 80).Draw(t, "key"))
			if rapid.Bool().Draw(t, "set") {
				names.Set(&e, key, event.Int(int64(1000+i)))
				want.SetAttribute(key, event.Int(int64(1000+i)))
			} else {
				names.Remove(&e, key)
				want.RemoveAttribute(key)
			}
			if _, has := want.Attribute(key); has != names.Has(&e, key) {
				t.Fatalf("has %s: want %v", key, has)
			}
		}
		if len(e.Attributes) != len(want.Attributes) || !maps.Equal(attributesOf(&e), attributesOf(&want)) {
			t.Fatalf("got %v, want %v", e.Attributes, want.Attributes)
		}
		if !maps.Equal(attributesOf(&branch), before) {
			t.Fatal("another branch sees it")
		}
	})
}

func TestNamesOfFewAttributesAllocateNothing(t *testing.T) {
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	e := event.Event{Attributes: make([]event.Attribute, 0, len(keys))}
	if got := testing.AllocsPerRun(100, func() {
		e.Attributes = e.Attributes[:0]
		var names event.Names
		for _, key := range keys {
			names.Set(&e, key, event.Bool(true))
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
