package event_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"millrace/engine/event"
)

func TestNewBatchIsOpen(t *testing.T) {
	b := batchOf(3)
	if b.Len() != 3 || b.Count(event.Open) != 3 || b.Unsettled() != 3 {
		t.Fatalf("len %d, open %d, unsettled %d; want 3 of each", b.Len(), b.Count(event.Open), b.Unsettled())
	}
	if got := openRows(b); !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("an attempt sees rows %v, want all in order", got)
	}
}

func TestSettlingTwicePanicsAndSaysWhichEvent(t *testing.T) {
	b := batchOf(2)
	b.Settle(1, event.Delivered)
	message := mustPanic(t, func() { b.Settle(1, event.Shed) })
	for _, want := range []string{"row 1", "shed", "delivered"} {
		if !strings.Contains(message, want) {
			t.Errorf("panic %q does not say %q", message, want)
		}
	}
	if b.Outcome(1) != event.Delivered || b.Count(event.Shed) != 0 {
		t.Errorf("the second settlement changed the books: %v", b.Outcome(1))
	}
}

func TestSettlingAsUnsettledPanics(t *testing.T) {
	for _, o := range []event.Outcome{event.Open, event.Refused} {
		mustPanic(t, func() { batchOf(1).Settle(0, o) })
		mustPanic(t, func() { batchOf(1).SettleOpen(o) })
	}
}

func TestAttemptsDoNotSeeSettledEvents(t *testing.T) {
	b := batchOf(4)
	b.Settle(0, event.Filtered)
	b.Settle(2, event.Delivered)
	if got := openRows(b); !slices.Equal(got, []int{1, 3}) {
		t.Fatalf("open rows %v, want 1 and 3", got)
	}
	var all []int
	for row := range b.All() {
		all = append(all, row)
	}
	if !slices.Equal(all, []int{0, 1, 2, 3}) {
		t.Fatalf("All gives %v, want every row", all)
	}
}

func TestAnEventSettledDuringTheAttemptIsSkipped(t *testing.T) {
	b := batchOf(3)
	var seen []int
	for row := range b.Open() {
		seen = append(seen, row)
		if row == 0 {
			b.Settle(1, event.Shed)
		}
	}
	if !slices.Equal(seen, []int{0, 2}) {
		t.Fatalf("saw %v; row 1 was settled before its turn", seen)
	}
}

func TestIterationsCanBeLeftEarly(t *testing.T) {
	b := batchOf(3)
	n := 0
	for range b.Open() {
		n++
		break
	}
	for range b.All() {
		n++
		break
	}
	if n != 2 {
		t.Fatalf("two loops left at once went round %d times", n)
	}
}

func TestAWholeBatchIsToldInOneRun(t *testing.T) {
	b := batchOf(500)
	calls := observe(b)
	b.SettleOpen(event.Delivered)
	if want := []told{{0, 500, event.Delivered}}; !slices.Equal(*calls, want) {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
	b.SettleOpen(event.Delivered)
	if len(*calls) != 1 {
		t.Fatal("nothing was open, and the observer was told something")
	}
}

func TestRunsStopAtGaps(t *testing.T) {
	b := batchOf(7)
	b.Settle(3, event.Filtered)
	calls := observe(b)
	b.Select(func(row int, _ *event.Event) bool { return row != 5 }).SettleOpen(event.Delivered)
	want := []told{{0, 3, event.Delivered}, {4, 1, event.Delivered}, {6, 1, event.Delivered}}
	if !slices.Equal(*calls, want) {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
}

func TestSettleTellsOneEvent(t *testing.T) {
	b := batchOf(3)
	calls := observe(b)
	b.Settle(1, event.Poisoned)
	if want := []told{{1, 1, event.Poisoned}}; !slices.Equal(*calls, want) {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
}

func TestReturnAllAlsoReturnsRefusedEvents(t *testing.T) {
	b := batchOf(4)
	b.Settle(0, event.Delivered)
	b.Refuse(2, errors.New("no date"))
	calls := observe(b)
	b.ReturnAll()
	if b.Unsettled() != 0 || b.Count(event.Returned) != 3 || b.Count(event.Delivered) != 1 {
		t.Fatalf("unsettled %d, returned %d, delivered %d", b.Unsettled(), b.Count(event.Returned), b.Count(event.Delivered))
	}
	want := []told{{1, 1, event.Returned}, {3, 1, event.Returned}, {2, 1, event.Returned}}
	if !slices.Equal(*calls, want) {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
}

func TestAnEmptyBatchIsSettled(t *testing.T) {
	b := event.NewBatch(nil)
	calls := observe(b)
	b.SettleOpen(event.Delivered)
	b.ReturnAll()
	head, tail := b.Split(3)
	if b.Unsettled() != 0 || len(*calls) != 0 || head.Len() != 0 || tail.Len() != 0 {
		t.Fatal("an empty batch has something to settle")
	}
}

func TestResetMakesANewBatchOfAnOldOne(t *testing.T) {
	b := batchOf(3)
	b.AddOrigin(3, event.Origin{Kind: "file", Name: "old"})
	b.Fork("fan", 2)
	b.Pass(4)
	b.Fail(0, errors.New("old"))
	b.Refuse(1, errors.New("old"))
	b.SettleOpen(event.Delivered)

	for _, n := range []int{2, 5} { // smaller and larger than before
		b.Reset(make([]event.Event, n))
		if b.Len() != n || b.Count(event.Open) != n || b.Unsettled() != n {
			t.Fatalf("after Reset to %d: len %d, open %d", n, b.Len(), b.Count(event.Open))
		}
		for row := range n {
			attempts, _ := b.Failures(row)
			if b.Err(row) != nil || attempts != 0 || b.Origin(row) != (event.Origin{}) {
				t.Fatalf("row %d remembers the batch before: %v, %d attempts, %v", row, b.Err(row), attempts, b.Origin(row))
			}
		}
		if got := b.Pending(1).Len(); got != n {
			t.Fatalf("step 1 has %d events before it, want %d: progress was kept", got, n)
		}
		for _, branch := range b.Fork("fan", 2) {
			if branch.Count(event.Open) != n {
				t.Fatal("a branch remembers the batch before")
			}
		}
	}
}

func TestOriginIsThatOfTheParcelTheRowCameWith(t *testing.T) {
	b := batchOf(5)
	first, second := event.Origin{Kind: "http", Name: "a"}, event.Origin{Kind: "kafka", Name: "b", Partition: 3}
	b.AddOrigin(2, first)
	b.AddOrigin(5, second)
	want := []event.Origin{first, first, second, second, second}
	view := b.Select(odd)
	for row := range b.All() {
		if b.Origin(row) != want[row] || view.Origin(row) != want[row] {
			t.Errorf("row %d is from %v (in a view: %v), want %v", row, b.Origin(row), view.Origin(row), want[row])
		}
	}
	if b.Origin(5) != (event.Origin{}) {
		t.Error("a row that nobody named has an origin")
	}
}

func TestReceiptIsSettledUnlessSomethingWasReturned(t *testing.T) {
	var r event.Receipt
	r.Counts[event.Delivered], r.Counts[event.Poisoned], r.Counts[event.Rejected] = 3, 1, 1
	if !r.Settled() {
		t.Error("nothing was returned, and the position may not move")
	}
	r.Counts[event.Returned] = 1
	if r.Settled() {
		t.Error("an event was returned, and the position may move past it")
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for o := range event.NumOutcomes {
		name := event.Outcome(o).String()
		if name == "" || seen[name] {
			t.Errorf("outcome %d is called %q", o, name)
		}
		seen[name] = true
		if final := o > 1; event.Outcome(o).Final() != final {
			t.Errorf("%s: Final is %v", name, !final)
		}
	}
	if got := event.Outcome(99).String(); got != "Outcome(99)" {
		t.Errorf("an unknown outcome prints as %q", got)
	}
}
