package roomy_test

import (
	"fmt"
	"testing"

	"millrace/engine/event"
	"millrace/internal/leaks"
	"millrace/stages/internal/roomy"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func events(n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i].Attributes = []event.Attribute{{Key: "i", Value: event.Int(int64(i))}}
	}
	return all
}

func add(all []event.Event) {
	var room roomy.Room
	for i := range all {
		room.Make(&all[i], 2, len(all)-i)
		all[i].SetAttribute("a", event.Bool(true))
		all[i].SetAttribute("b", event.Bool(true))
	}
}

func TestEventsKeepWhatTheyHadAndDoNotShareTheirRoom(t *testing.T) {
	all := events(100)
	add(all)
	for i := range all {
		all[i].SetAttribute("beyond", event.Bool(true)) // would land with the neighbour
	}
	for i, e := range all {
		if got := fmt.Sprint(e.Attributes); len(e.Attributes) != 4 || e.Attributes[0].Value != event.Int(int64(i)) || e.Attributes[1].Key != "a" {
			t.Fatalf("event %d has %s", i, got)
		}
	}
}

func TestABranchDoesNotSeeWhatIsAdded(t *testing.T) {
	e := events(1)[0]
	branch := e.Share()
	var room roomy.Room
	room.Make(&branch, 1, 1)
	branch.SetAttribute("i", event.Bool(true))
	if v, _ := e.Attribute("i"); v != event.Int(0) {
		t.Errorf("the other branch has %v", v)
	}
}

func TestABatchCostsAFewPiecesOfMemory(t *testing.T) {
	fresh := events(500)
	all := make([]event.Event, len(fresh))
	got := testing.AllocsPerRun(20, func() {
		copy(all, fresh)
		add(all)
	})
	if got > 3 {
		t.Errorf("%v allocations for a batch of 500", got)
	}
}
