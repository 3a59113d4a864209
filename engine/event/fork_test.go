package event_test

import (
	"slices"
	"testing"

	"millrace/engine/event"
)

// deliverAll settles all open events of the branches.
func deliverAll(branches []*event.Batch) {
	for _, branch := range branches {
		branch.SettleOpen(event.Delivered)
	}
}

func TestEveryBranchGetsEveryOpenEvent(t *testing.T) {
	b := batchOf(3)
	b.AddOrigin(3, event.Origin{Kind: "file", Name: "x"})
	b.Settle(1, event.Filtered)
	calls := observe(b)
	branches := b.Fork("fan", 2)
	for i, branch := range branches {
		if !slices.Equal(openRows(branch), []int{0, 2}) || branch.Len() != 2 || branch.Count(event.Open) != 2 {
			t.Errorf("branch %d has rows %v of %d", i, openRows(branch), branch.Len())
		}
		if branch.Event(2).Message != "m2" || branch.Origin(2).Name != "x" {
			t.Errorf("branch %d: row 2 is %q from %v", i, branch.Event(2).Message, branch.Origin(2))
		}
	}
	deliverAll(branches)
	if len(*calls) != 0 || b.Unsettled() != 2 {
		t.Fatal("a branch settled events of the whole before Join")
	}
	b.Join("fan")
	want := []told{{0, 1, event.Delivered}, {2, 1, event.Delivered}}
	if !slices.Equal(*calls, want) || b.Unsettled() != 0 {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
}

func TestJoinTellsOneRunWhenAllWentWell(t *testing.T) {
	b := batchOf(100)
	calls := observe(b)
	deliverAll(b.Fork("fan", 3))
	b.Join("fan")
	if want := []told{{0, 100, event.Delivered}}; !slices.Equal(*calls, want) {
		t.Fatalf("observer was told %v, want %v", *calls, want)
	}
}

func TestABranchThatHasAnEventIsNotGivenItAgain(t *testing.T) {
	b := batchOf(4)
	branches := b.Fork("fan", 2)
	branches[0].SettleOpen(event.Delivered)
	branches[1].Settle(0, event.Delivered)
	branches[1].FailOpen(errAway)
	b.Join("fan")
	if b.Outcome(0) != event.Delivered || !slices.Equal(openRows(b), []int{1, 2, 3}) || b.Err(2) != errAway {
		t.Fatalf("row 0 is %v, open %v, why %v", b.Outcome(0), openRows(b), b.Err(2))
	}

	branches = b.Fork("fan", 2)
	if branches[0].Count(event.Open) != 0 {
		t.Errorf("branch 0 delivered all, and is given rows %v again", openRows(branches[0]))
	}
	if got := openRows(branches[1]); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("branch 1 is given rows %v, want those it failed", got)
	}
	if attempts, _ := branches[1].Failures(2); attempts != 1 {
		t.Errorf("branch 1 remembers %d failed attempts, want 1", attempts)
	}
	branches[1].SettleOpen(event.Delivered)
	b.Join("fan")
	if b.Count(event.Delivered) != 4 {
		t.Errorf("delivered %d of 4", b.Count(event.Delivered))
	}
}

func TestTheWorstOutcomeOfTheBranchesWins(t *testing.T) {
	order := []event.Outcome{event.Filtered, event.Delivered, event.Shed, event.Poisoned, event.Rejected, event.Returned}
	for i, one := range order {
		for j, other := range order {
			b := batchOf(1)
			branches := b.Fork("fan", 2)
			branches[0].Settle(0, one)
			branches[1].Settle(0, other)
			b.Join("fan")
			if want := order[max(i, j)]; b.Outcome(0) != want {
				t.Errorf("%v and %v make %v, want %v", one, other, b.Outcome(0), want)
			}
		}
	}
}

func TestAnEventIsRefusedOnceNoBranchCanDoMore(t *testing.T) {
	b := batchOf(2)
	branches := b.Fork("fan", 2)
	branches[0].Refuse(0, errBad)
	branches[0].SettleOpen(event.Delivered)
	branches[1].FailOpen(errAway)
	b.Join("fan")
	if b.Outcome(0) != event.Open || b.Err(0) != errAway {
		t.Fatalf("branch 1 may still deliver row 0, but it is %v (%v)", b.Outcome(0), b.Err(0))
	}
	branches = b.Fork("fan", 2)
	if branches[0].Count(event.Open) != 0 {
		t.Error("the branch that refused is given the event again")
	}
	branches[1].SettleOpen(event.Delivered)
	b.Join("fan")
	if b.Outcome(0) != event.Refused || b.Err(0) != errBad || b.Outcome(1) != event.Delivered {
		t.Fatalf("row 0 is %v (%v), row 1 %v", b.Outcome(0), b.Err(0), b.Outcome(1))
	}
}

func TestRowsKeepTheirNumbersInBranches(t *testing.T) {
	b := batchOf(6)
	view := b.Select(odd)
	for _, branch := range view.Fork("fan", 2) {
		if got := openRows(branch); !slices.Equal(got, []int{1, 3, 5}) {
			t.Errorf("a branch of a view has rows %v, want the view's", got)
		}
		if branch.Event(3).Message != "m3" {
			t.Errorf("row 3 of a branch is %q", branch.Event(3).Message)
		}
	}
}

func TestForkOfAViewAndThenOfTheRest(t *testing.T) {
	b := batchOf(6)
	view := b.Select(odd)
	branches := view.Fork("fan", 2)
	deliverAll(branches[:1])
	branches[1].FailOpen(errAway)
	view.Join("fan")

	branches = b.Fork("fan", 2)
	if got := openRows(branches[0]); !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("branch 0 has the odd rows already and is given %v", got)
	}
	if got := openRows(branches[1]); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5}) {
		t.Errorf("branch 1 is given %v, want everything", got)
	}
	if branches[0].Event(4).Message != "m4" {
		t.Errorf("row 4 of a branch is %q", branches[0].Event(4).Message)
	}
	deliverAll(branches)
	b.Join("fan")
	if b.Count(event.Delivered) != 6 {
		t.Errorf("delivered %d of 6", b.Count(event.Delivered))
	}
}

func TestForksUnderDifferentKeysAreDifferent(t *testing.T) {
	b := batchOf(2)
	deliverAll(b.Fork("one", 1))
	if got := b.Fork("two", 1)[0].Count(event.Open); got != 2 {
		t.Errorf("the second broadcast is given %d events, want 2", got)
	}
}

func TestABranchCanForkAgain(t *testing.T) {
	b := batchOf(3)
	outer := b.Fork("fan", 2)
	outer[0].SettleOpen(event.Delivered)
	inner := outer[1].Fork("fan", 2)
	inner[0].SettleOpen(event.Filtered)
	inner[1].Settle(0, event.Delivered)
	inner[1].FailOpen(errAway)
	outer[1].Join("fan")
	b.Join("fan")
	if b.Outcome(0) != event.Delivered || b.Outcome(1) != event.Open || b.Err(2) != errAway {
		t.Fatalf("rows are %v, %v; row 2 failed with %v", b.Outcome(0), b.Outcome(1), b.Err(2))
	}
}

func TestBranchesWriteToTheirOwnCopies(t *testing.T) {
	b := batchOf(1)
	e := b.Event(0)
	e.Attributes = append(make([]event.Attribute, 0, 8), event.Attribute{Key: "k", Value: event.String("v")})
	branches := b.Fork("fan", 2)
	branches[0].Event(0).SetAttribute("k", event.String("zero"))
	branches[0].Event(0).SetAttribute("new", event.Int(0))
	branches[1].Event(0).RemoveAttribute("k")
	branches[1].Event(0).Message = "one"
	e.SetAttribute("own", event.Bool(true)) // the original, too, must not write into what branches read
	e.SetAttribute("k", event.String("own"))

	for name, c := range map[string]struct {
		e    *event.Event
		want string
	}{
		"the whole": {e, "m0 k=own own=true"},
		"branch 0":  {branches[0].Event(0), "m0 k=zero new=0"},
		"branch 1":  {branches[1].Event(0), "one"},
	} {
		got := c.e.Message
		for _, a := range c.e.Attributes {
			got += " " + a.Key + "=" + a.Value.String()
		}
		if got != c.want {
			t.Errorf("%s sees %q, want %q", name, got, c.want)
		}
	}
}

func TestBranchesWorkSideBySide(t *testing.T) {
	b := batchOf(200)
	for row := range b.All() {
		b.Event(row).SetAttribute("k", event.Int(int64(row)))
	}
	branches := b.Fork("fan", 4)
	done := make(chan bool)
	for i, branch := range branches {
		go func() {
			for row, e := range branch.Open() {
				e.SetAttribute("k", event.Int(int64(i)))
				e.SetAttribute("branch", event.Int(int64(i)))
				if row%4 == i {
					branch.Fail(row, errAway)
				}
			}
			branch.Select(func(row int, _ *event.Event) bool { return row%4 != i }).SettleOpen(event.Delivered)
			done <- true
		}()
	}
	for range branches {
		<-done
	}
	b.Join("fan")
	if b.Count(event.Open) != 200 || b.Err(7) != errAway {
		t.Fatalf("each event failed in one branch, but %d are open", b.Count(event.Open))
	}
	for row := range b.All() {
		if v, _ := b.Event(row).Attribute("k"); v.Int() != int64(row) {
			t.Fatalf("row %d has k=%v: a branch wrote through", row, v)
		}
	}
}
