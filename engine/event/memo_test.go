package event_test

import (
	"testing"

	"millrace/engine/event"
)

func TestAMemoIsMadeOncePerBatchAndKey(t *testing.T) {
	b := batchOf(2)
	made := 0
	charge := func(b *event.Batch, key any) *int {
		return event.Memo(b, key, func() *int { made++; return new(int) })
	}
	*charge(b, "limiter") += 5
	head, _ := b.Split(1)
	if got := *charge(head, "limiter"); got != 5 || made != 1 {
		t.Errorf("a view finds %d (made %d times), want the whole's 5", got, made)
	}
	if got := *charge(b, "other"); got != 0 {
		t.Errorf("another stage's memo holds %d", got)
	}
	for _, branch := range b.Fork("limiter", 1) {
		if got := *charge(branch, "limiter"); got != 0 {
			t.Errorf("a branch finds %d: it is a batch of its own", got)
		}
	}
	b.Reset(make([]event.Event, 2))
	if got := *charge(b, "limiter"); got != 0 {
		t.Errorf("after Reset the memo holds %d", got)
	}
}

func TestTheLaneIsThatOfTheBatch(t *testing.T) {
	b := batchOf(2)
	b.SetLane("orders/3")
	if got := b.Select(odd).Lane(); got != "orders/3" {
		t.Errorf("a view is in lane %q", got)
	}
	if got := b.Fork("fan", 1)[0].Lane(); got != "orders/3" {
		t.Errorf("a branch is in lane %q", got)
	}
	b.Reset(nil)
	if b.Lane() != "" {
		t.Errorf("after Reset the batch is in lane %q", b.Lane())
	}
}

func TestAnEventThatWasNotForkedStaysAsItIs(t *testing.T) {
	b := batchOf(4)
	deliverAll(b.Select(odd).Fork("fan", 2))
	b.Join("fan")
	b.Join("never forked")
	if got := openRows(b); len(got) != 2 || got[0] != 0 || got[1] != 2 {
		t.Errorf("open rows %v, want 0 and 2", got)
	}
	if b.Err(0) != nil {
		t.Errorf("row 0 failed with %v, though nobody tried it", b.Err(0))
	}
}
