package event_test

import (
	"errors"
	"slices"
	"testing"

	"millrace/engine/event"
)

var errAway, errBad = errors.New("connection refused"), errors.New("no such date")

func TestAFailedEventStaysOpenAndRemembersWhy(t *testing.T) {
	b := batchOf(3)
	b.Fail(1, errAway)
	b.Fail(1, errBad)
	if b.Outcome(1) != event.Open || b.Err(1) != errBad || b.Err(0) != nil {
		t.Fatalf("row 1 is %v with %v; row 0 has %v", b.Outcome(1), b.Err(1), b.Err(0))
	}
	attempts, first := b.Failures(1)
	if attempts != 2 || first.IsZero() {
		t.Errorf("failed %d times, first %v; want 2 times and when", attempts, first)
	}
	if attempts, first := b.Failures(0); attempts != 0 || !first.IsZero() {
		t.Errorf("row 0 never failed, but says %d times, first %v", attempts, first)
	}
}

func TestTheFirstFailureKeepsItsTime(t *testing.T) {
	b := batchOf(1)
	b.Fail(0, errAway)
	_, before := b.Failures(0)
	b.Fail(0, errAway)
	if _, after := b.Failures(0); !after.Equal(before) {
		t.Errorf("first failure moved from %v to %v", before, after)
	}
}

func TestFailOpenFailsWhatIsOpen(t *testing.T) {
	b := batchOf(4)
	b.Settle(0, event.Delivered)
	b.Refuse(1, errBad)
	b.FailOpen(errAway)
	if b.Err(0) != nil || b.Err(1) != errBad || b.Err(2) != errAway || b.Err(3) != errAway {
		t.Fatalf("errors are %v %v %v %v", b.Err(0), b.Err(1), b.Err(2), b.Err(3))
	}
}

func TestSettledEventsCannotFailOrBeRefused(t *testing.T) {
	b := batchOf(1)
	b.Settle(0, event.Delivered)
	b.Fail(0, errAway)
	b.Refuse(0, errBad)
	if attempts, _ := b.Failures(0); b.Outcome(0) != event.Delivered || b.Err(0) != nil || attempts != 0 {
		t.Fatalf("a delivered event is %v with %v after %d failures", b.Outcome(0), b.Err(0), attempts)
	}
}

func TestARefusedEventIsSeenOnlyByThePoisonQueue(t *testing.T) {
	b := batchOf(3)
	calls := observe(b)
	b.Refuse(1, errBad)
	b.Refuse(1, errAway) // the first reason stays
	b.Fail(1, errAway)
	if len(*calls) != 0 {
		t.Error("refusing is no settlement, but the observer was told")
	}
	if !slices.Equal(openRows(b), []int{0, 2}) || b.Count(event.Open) != 2 || b.Count(event.Refused) != 1 || b.Unsettled() != 3 {
		t.Fatalf("open %v, refused %d, unsettled %d", openRows(b), b.Count(event.Refused), b.Unsettled())
	}
	for row, e := range b.Refused() {
		if row != 1 || e.Message != "m1" || b.Err(row) != errBad {
			t.Errorf("refused: row %d, %q, %v", row, e.Message, b.Err(row))
		}
		b.Settle(row, event.Poisoned)
	}
	if want := []told{{1, 1, event.Poisoned}}; !slices.Equal(*calls, want) {
		t.Errorf("observer was told %v, want %v", *calls, want)
	}
}

func TestSettleOpenLeavesRefusedEvents(t *testing.T) {
	b := batchOf(3)
	b.Refuse(1, errBad)
	b.SettleOpen(event.Delivered)
	if b.Outcome(1) != event.Refused || b.Unsettled() != 1 {
		t.Fatalf("row 1 is %v", b.Outcome(1))
	}
}

func TestANewAttemptForgetsWhyButNotHowOften(t *testing.T) {
	b := batchOf(3)
	b.ClearErrs() // nothing to forget yet
	b.Fail(0, errAway)
	b.Fail(1, errAway)
	b.Refuse(2, errBad)
	b.Select(odd).ClearErrs()
	if b.Err(0) != errAway || b.Err(1) != nil {
		t.Errorf("clearing a view: rows have %v and %v", b.Err(0), b.Err(1))
	}
	b.ClearErrs()
	if b.Err(0) != nil || b.Err(2) != errBad {
		t.Errorf("clearing all: open row has %v, refused one %v", b.Err(0), b.Err(2))
	}
	if attempts, _ := b.Failures(0); attempts != 1 {
		t.Errorf("row 0 failed once, but says %d", attempts)
	}
}

func TestFirstErrIsOfTheFirstEventThatHasOne(t *testing.T) {
	b := batchOf(4)
	if b.FirstErr(event.Open) != nil {
		t.Error("an error where nothing failed")
	}
	b.Fail(2, errAway)
	b.Fail(3, errBad)
	b.Refuse(0, errBad)
	if b.FirstErr(event.Open) != errAway || b.FirstErr(event.Refused) != errBad {
		t.Errorf("open %v, refused %v", b.FirstErr(event.Open), b.FirstErr(event.Refused))
	}
	if got := b.Select(odd).FirstErr(event.Open); got != errBad {
		t.Errorf("of a view: %v, want that of row 3", got)
	}
}
