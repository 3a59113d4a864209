package event_test

import (
	"errors"
	"slices"
	"testing"

	"millrace/engine/event"
)

func TestViewsShareEventsAndOutcomes(t *testing.T) {
	b := batchOf(6)
	view := b.Select(odd)
	view.Event(3).Message = "changed"
	view.Settle(3, event.Delivered)
	if b.Outcome(3) != event.Delivered || b.Event(3).Message != "changed" {
		t.Error("the whole does not see what was done in a view")
	}
	b.Settle(5, event.Shed)
	if got := openRows(view); !slices.Equal(got, []int{1}) {
		t.Errorf("the view has rows %v open, want 1: 3 and 5 are settled", got)
	}
	if view.Len() != 3 || view.Count(event.Delivered) != 1 || view.Count(event.Shed) != 1 || view.Unsettled() != 1 {
		t.Error("the view does not count its own events")
	}
}

func TestSettlingAViewLeavesTheRestOpen(t *testing.T) {
	b := batchOf(6)
	b.Select(odd).SettleOpen(event.Delivered)
	if got := openRows(b); !slices.Equal(got, []int{0, 2, 4}) {
		t.Fatalf("open rows %v, want the even ones", got)
	}
}

func TestSelectAsksAboutOpenEventsOnly(t *testing.T) {
	b := batchOf(4)
	b.Settle(0, event.Filtered)
	b.Refuse(1, errors.New("bad"))
	asked := []int{}
	view := b.Select(func(row int, e *event.Event) bool {
		if e != b.Event(row) {
			t.Error("Select does not show the event of the row")
		}
		asked = append(asked, row)
		return row == 3
	})
	if !slices.Equal(asked, []int{2, 3}) || !slices.Equal(openRows(view), []int{3}) {
		t.Fatalf("asked about %v, kept %v", asked, openRows(view))
	}
}

func TestAnEmptyViewIsNotTheWhole(t *testing.T) {
	b := batchOf(3)
	none := b.Select(func(int, *event.Event) bool { return false })
	none.SettleOpen(event.Shed)
	none.ReturnAll()
	if none.Len() != 0 || b.Unsettled() != 3 {
		t.Fatal("settling an empty view settled something")
	}
}

func TestSplitCutsTheOpenEvents(t *testing.T) {
	for _, c := range []struct {
		n          int
		head, tail []int
	}{
		{0, []int{}, []int{0, 2, 3}},
		{1, []int{0}, []int{2, 3}},
		{3, []int{0, 2, 3}, []int{}},
		{9, []int{0, 2, 3}, []int{}},
	} {
		b := batchOf(4)
		b.Settle(1, event.Filtered)
		head, tail := b.Split(c.n)
		if !slices.Equal(openRows(head), c.head) || !slices.Equal(openRows(tail), c.tail) {
			t.Errorf("Split(%d): %v and %v, want %v and %v", c.n, openRows(head), openRows(tail), c.head, c.tail)
		}
	}
}

func TestHalvingFindsTheBadEvent(t *testing.T) {
	b := batchOf(100)
	var find func(v *event.Batch)
	find = func(v *event.Batch) {
		bad := false
		for row := range v.Open() {
			bad = bad || row == 37
		}
		switch {
		case !bad:
			v.SettleOpen(event.Delivered)
		case v.Count(event.Open) == 1:
			v.Refuse(37, errors.New("bad"))
		default:
			head, tail := v.Split(v.Count(event.Open) / 2)
			find(head)
			find(tail)
		}
	}
	find(b)
	if b.Count(event.Delivered) != 99 || b.Outcome(37) != event.Refused {
		t.Fatalf("delivered %d, row 37 is %v", b.Count(event.Delivered), b.Outcome(37))
	}
}

func TestAStepIsDoneOncePerEventAlthoughTheChainRunsAgain(t *testing.T) {
	b := batchOf(4)
	charged := make([]int, 4)
	attempt := func(deliver func(row int) bool) {
		pending := b.Pending(2)
		for row := range pending.Open() {
			charged[row]++
		}
		pending.Pass(2)
		b.Select(func(row int, _ *event.Event) bool { return deliver(row) }).SettleOpen(event.Delivered)
	}
	attempt(func(row int) bool { return row == 0 })
	attempt(func(row int) bool { return row == 1 })
	attempt(func(int) bool { return true })
	if !slices.Equal(charged, []int{1, 1, 1, 1}) || b.Unsettled() != 0 {
		t.Fatalf("charged %v, want each event once; %d unsettled", charged, b.Unsettled())
	}
}

func TestStepsAreCountedInTheOrderOfTheChain(t *testing.T) {
	b := batchOf(3)
	b.Pending(1).Pass(1)
	if got := b.Pending(1).Len(); got != 0 {
		t.Errorf("step 1 would be done again for %d events", got)
	}
	if got := b.Pending(2).Len(); got != 3 {
		t.Errorf("step 2 has %d events before it, want 3", got)
	}
	b.Select(odd).Pass(3)
	b.Pass(2) // must not take row 1 back behind step 3
	if got := openRows(b.Pending(3)); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("step 3 has rows %v before it, want 0 and 2", got)
	}
}

func TestPendingIsTheBatchItselfOnTheFirstAttempt(t *testing.T) {
	b := batchOf(3)
	if b.Pending(1) != b {
		t.Error("the usual case makes a view for nothing")
	}
	b.Settle(0, event.Filtered)
	if got := openRows(b.Pending(1)); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("pending rows %v, want the open ones", got)
	}
}

func TestPendingOfAViewStaysWithinIt(t *testing.T) {
	b := batchOf(6)
	view := b.Select(odd)
	if got := openRows(view.Pending(1)); !slices.Equal(got, []int{1, 3, 5}) {
		t.Errorf("pending rows %v, want the view's", got)
	}
	view.Pass(1)
	if got := openRows(b.Pending(1)); !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("pending rows of the whole %v, want those the view did not have", got)
	}
}
